"""What the commands of this package read from their command lines alike."""

import argparse

from contracts.errors import SettingsError
from contracts.settings import Settings

__all__ = ["known_shop", "whole_number"]


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
