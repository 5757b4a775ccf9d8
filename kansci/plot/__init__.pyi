from .attribution import draw_attribution as draw_attribution
from .edges import draw_edge as draw_edge
from .history import draw_history as draw_history
from .kanpiler import draw_kanpiler as draw_kanpiler
from .network import draw_network as draw_network
from .pareto import draw_pareto as draw_pareto
from .structure import draw_hessian as draw_hessian
from .structure import draw_structure as draw_structure
