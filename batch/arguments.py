"""What the commands of this package read from their command lines alike."""

import argparse
from pathlib import Path

from contracts.errors import SettingsError
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH, Settings

__all__ = ["add_live_values", "known_shop", "whole_number"]


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


def known_shop(settings: Settings, shop: str | None) -> str:
    """The shop that was asked for; without a wish the first one of the settings.

    >>> known_shop(Settings(shops=("tea", "cups")), None), known_shop(Settings(shops=("tea", "cups")), "cups")
    ('tea', 'cups')

    Raises:
        SettingsError: the settings do not know it.
    """
    if shop is not None and shop not in settings.shops:
        message = f"shop {shop!r} is not in the settings; expected one of {', '.join(settings.shops)}"
        raise SettingsError(message)
    return shop or settings.shops[0]


def add_live_values(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that compares live values with the lake, or makes them of it, with Spark."""
    parser.add_argument("--shop", help="shop id (default: the first one of the settings)")
    parser.add_argument(
        "--days", type=whole_number, default=30, metavar="N", help="days of recent actions (default: %(default)s)"
    )
    parser.add_argument(
        "--properties",
        type=Path,
        metavar="FILE",
        help=f"where the stores are (default: ${ENVIRONMENT_VARIABLE}, then {MANAGED_PATH})",
    )
    parser.add_argument(
        "--master", default="local[2]", help="Spark master; spark-submit's own wins (default: %(default)s)"
    )
    parser.add_argument("--driver-memory", default="1g", help="heap of a local Spark (default: %(default)s)")
