"""The program of a function's image: python3 main.py <folder> <root> <packages> <module:entry> <kind>."""

import os
import sys

# No name in the user's folder can shadow the runtime, and the user's code does
# not see the runtime's folder.
_OWN = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [_OWN] + [path for path in sys.path if path not in ("", _OWN)]

from knit_runtime import process  # noqa: E402

sys.path.remove(_OWN)

if __name__ == "__main__":
    code = process.main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread of the function that never ends must not hold the process.
    os._exit(code)
