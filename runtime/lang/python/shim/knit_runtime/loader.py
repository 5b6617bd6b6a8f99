"""Finds and imports the user's code, and says clearly why that failed."""

import importlib
import os
import sys

from .function import ACCEPTED, Function, Unfit

# Modules that offer the CloudEvents SDK to functions that do not bring it.
STAND_IN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "stand_in")


# Knit's SDK, for functions that do not bring it.
SDK = os.path.join(os.path.dirname(STAND_IN), "sdk")


class LoadError(Exception):
    """The user's code cannot be served; the text says where and why."""

    def __init__(self, text, cause=None):
        super().__init__(text)
        self.cause = cause


def prepare_path(folder, root, packages):
    """Puts the function's folder first on the path of imports, what stands in last.

    packages is the folder that the build installed requirements into, if it did.
    """
    paths = [folder] + ([root] if root != folder else [])
    sys.path[:0] = paths
    if packages and os.path.isdir(packages):
        if any(name.endswith(".pth") for name in os.listdir(packages)):
            import site

            site.addsitedir(packages)
        if packages not in sys.path:
            sys.path.append(packages)
    sys.path += [STAND_IN, SDK]


def load(module, entry, kind, folder):
    """Imports module and returns its entry as a Function; raises LoadError."""
    try:
        found = importlib.import_module(module)
    except SyntaxError as problem:
        raise LoadError("%s: %s" % (_place(problem.filename, problem.lineno, folder), problem.msg), problem) from None
    except ModuleNotFoundError as problem:
        where = _raised_in(problem, folder)
        if where is None and problem.name and module.split(".")[0] == problem.name.split(".")[0]:
            raise LoadError("module %s is not in %s" % (module, folder), problem) from None
        raise LoadError("%s: no module named %s; add its package to requirements.txt or pyproject.toml" % (where, problem.name), problem) from None
    except (Exception, SystemExit) as problem:
        raise LoadError("%s: import raised %s: %s" % (_raised_in(problem, folder) or module, type(problem).__name__, problem), problem) from None
    target = getattr(found, entry, None)
    if target is None:
        raise LoadError("%s has no %s; write one of\n%s" % (_place(found.__file__, None, folder), entry, ACCEPTED))
    try:
        return Function(entry, target, kind)
    except Unfit as problem:
        raise LoadError("%s: %s" % (_place(found.__file__, None, folder), problem)) from None
    except (Exception, SystemExit) as problem:
        raise LoadError("%s: new() raised %s: %s" % (_raised_in(problem, folder) or module, type(problem).__name__, problem), problem) from None


def _raised_in(problem, folder):
    """File and line of the deepest frame in the user's own folder."""
    found, trace = None, problem.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(folder + os.sep):
            found = _place(name, trace.tb_lineno, folder)
        trace = trace.tb_next
    return found


def _place(name, line, folder):
    name = os.path.relpath(name, folder) if name and name.startswith(folder + os.sep) else name or "?"
    return "%s:%d" % (name, line) if line else name
