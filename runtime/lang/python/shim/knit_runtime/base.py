"""Packages of the run base that the runtime imports, out of the function's sight.

The function may bring the same packages in other versions: what is loaded here
never appears under its name in sys.modules for longer than the import takes.
"""

import importlib
import sys

FOLDER = "/opt/knit/python/lib"
_NAMES = ("h11", "wsproto")

_own = {}


def load(name):
    """Returns a module of the run base."""
    if name in _own:
        return _own[name]
    theirs = _take()
    sys.modules.update(_own)
    sys.path.insert(0, FOLDER)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(FOLDER)
        _own.update(_take())
        sys.modules.update(theirs)


def _take():
    """Removes the packages' modules from sys.modules and returns them."""
    found = {name: module for name, module in sys.modules.items() if name.split(".", 1)[0] in _NAMES}
    for name in found:
        del sys.modules[name]
    return found
