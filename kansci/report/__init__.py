"""A run of kansci as one HTML page that needs nothing but itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
