from . import adaptive as adaptive
from . import domains as domains
from . import exact as exact
from . import extremes as extremes
from . import pde as pde
