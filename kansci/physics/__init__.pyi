from . import domains as domains
from . import exact as exact
from . import pde as pde
