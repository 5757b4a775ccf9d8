from . import domains as domains
from . import pde as pde
