"""What the commands of this package read from their command lines alike."""

import argparse

__all__ = ["whole_number"]


def whole_number(text: str) -> int:
    """A number of things, for ``type=`` of an argument.

    >>> whole_number("7")
    7

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal():
        message = f"{text!r} is not a whole number of 0 or more"
        raise argparse.ArgumentTypeError(message)
    return int(text)
