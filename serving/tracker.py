"""``python -m serving.tracker`` writes ``static/tracker.js``, what pages load, from its readable source beside it."""

import re
from pathlib import Path
from string import ascii_uppercase
from typing import Final

__all__ = ["SERVED", "SOURCE", "squeezed"]

_STATIC: Final = Path(__file__).parent / "static"
SOURCE: Final = _STATIC / "tracker.source.js"
SERVED: Final = _STATIC / "tracker.js"
_NAMES: Final = (
    *("memory", "busy", "timer", "pause", "load", "save", "state", "uuid", "later", "item", "more", "who", "event"),
    *("batch", "leaving", "flush", "reply", "done", "after", "ids", "now"),
)
"""Long names that the source uses for variables alone, never for a property; ``squeezed`` makes letters of them."""


def squeezed(source: str) -> str:
    r"""Without comments, indentation and line breaks, and with one letter for each of the long names.

    The rule is for this one source: comments fill their lines, a statement ends with ``;``, strings hold no quotes.

    >>> print(squeezed("// why\nlet state = 1;\nconst f = (x) => {\n  return state + \"a = b\";\n};\n"))
    let G=1;const f=x=>{return G+"a = b"};
    """
    lines = [line.strip() for line in source.splitlines()]
    parts = re.split(r'("[^"]*")', " ".join(line for line in lines if line and not line.startswith("//")))
    parts[::2] = [_code(part) for part in parts[::2]]  # every second part is a string and stays as it is
    return re.sub(r"(?<!async)\((\w+)\)=>", r"\1=>", "".join(parts)).replace(";}", "}")


def _code(text: str) -> str:
    for letter, name in zip(ascii_uppercase, _NAMES, strict=False):
        text = re.sub(rf"(?<![\w.]){name}\b|(?<=\.\.\.){name}\b", letter, text)
    return re.sub(r"\s*([-+*/%=<>!&|?:;,(){}\[\]^])\s*", r"\1", text)


def main() -> None:
    """Write the served file."""
    SERVED.write_text(squeezed(SOURCE.read_text()) + "\n")
    print(f"{SERVED}: {SERVED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
