"""What a number means: every metric is a pure function of a layer's statistics.

Every module here is imported on sight, so that a metric defined in one is registered without a list to keep.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
