"""Compiles the modules below a folder: root [folder entry].

The .pyc files are valid whatever the times of their sources, and the same
every time. With an entry, a syntax error in it or in a file of the source that
it imports is printed with file and line, and ends the program with code 3.
"""

import ast
import os
import sys
from importlib import _bootstrap_external as external
from importlib.util import cache_from_source, source_hash


def main(root, folder=None, entry=None):
    broken = reachable_errors(root, folder, entry) if entry else []
    if broken:
        print("\n".join(broken))
        return 3
    for here, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        for name in sorted(files):
            if name.endswith(".py"):
                compile_file(os.path.join(here, name))
    return 0


def compile_file(name):
    try:
        with open(name, "rb") as file:
            content = file.read()
        code = compile(content, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return
    data = external._code_to_hash_pyc(code, source_hash(content), False)
    to = cache_from_source(name)
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(to, "wb") as file:
        file.write(data)


def reachable_errors(root, folder, entry):
    """Syntax errors of the entry and of what it imports from the source."""
    found, waiting, seen = [], [entry], {entry}
    while waiting:
        name = waiting.pop()
        try:
            with open(name, "rb") as file:
                tree = ast.parse(file.read(), name)
        except SyntaxError as problem:
            found.append(describe(name, folder, problem))
            continue
        except (ValueError, RecursionError, OSError) as problem:
            found.append("%s: %s" % (os.path.relpath(name, folder), problem))
            continue
        for module in imports(tree, name, folder):
            for file in candidates(module, root, folder):
                if file not in seen and os.path.isfile(file):
                    seen.add(file)
                    waiting.append(file)
    return sorted(found)


def describe(name, folder, problem):
    text = "%s:%s:%s: %s" % (os.path.relpath(name, folder), problem.lineno, problem.offset, problem.msg)
    return text + "\n    " + problem.text.strip() if problem.text else text


def imports(tree, name, folder):
    """Names of modules that a module imports; relative ones as paths."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.replace(".", os.sep)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").replace(".", os.sep)
            if node.level:
                where = os.path.dirname(name)
                for _ in range(node.level - 1):
                    where = os.path.dirname(where)
                base = os.path.join(where, base)
            yield base
            for alias in node.names:
                yield os.path.join(base, alias.name)


def candidates(module, root, folder):
    for base in dict.fromkeys((folder, root)):
        path = os.path.join(base, module)  # an absolute path stays what it is
        if not os.path.normpath(path).startswith(root):
            continue
        parts = os.path.relpath(path, base).split(os.sep)
        for depth in range(1, len(parts) + 1):
            part = os.path.join(base, *parts[:depth])
            yield part.rstrip(os.sep) + ".py"
            yield os.path.join(part, "__init__.py")


sys.exit(main(*sys.argv[1:]))
