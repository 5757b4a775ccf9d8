"""Pictures of networks, edges and histories: axes in, axes out, nothing shown."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
