"""A Lambda execution environment's main loop: a line of JSON in, a handler's answer out; imports the standard library.

``python function_process.py module.handler``; what the handler prints goes to standard error, as to a log.
"""

import importlib
import json
import os
import sys
import time
import traceback

__all__ = ["main"]


def main(named: str) -> None:
    """Serve the handler until standard input ends."""
    began = time.monotonic()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = named.rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    print(json.dumps({"init_ms": round(1000 * (time.monotonic() - began), 1)}), file=out, flush=True)
    for line in sys.stdin:
        try:
            answer = {"payload": handler(json.loads(line), None)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
