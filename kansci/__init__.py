"""Kolmogorov-Arnold networks for scientists.

``__init__.pyi`` lists the public names. Each is loaded when first used, so ``import kansci`` costs nothing.
"""

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("kansci")
    return _load(name)
