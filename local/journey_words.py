"""Readable names from the till's abbreviations (``SFT DRNK 2 LITER BTL CARB INCL``)."""

import re
from functools import cache
from typing import Final

__all__ = ["plain", "size_of", "title_of"]

_WORDS: Final = {
    "ASST": "Assorted",
    "BISC": "Biscuits",
    "BKD": "Baked",
    "BN": "Bean",
    "BRD": "Breaded",
    "BRKFST": "Breakfast",
    "BTL": "Bottle",
    "BTR": "Butter",
    "CAR": "Carton",
    "CARB": "Carbonated",
    "CHICK": "Chicken",
    "CHOC": "Chocolate",
    "CLEANG": "Cleaning",
    "CNTRL": "Control",
    "CRBNTD": "Carbonated",
    "CRKR": "Crackers",
    "DEPT": "Department",
    "DNRS": "Dinners",
    "DRNK": "Drink",
    "DRNKNG": "Drinking",
    "DRNKS": "Drinks",
    "FD": "Food",
    "FLVRD": "Flavoured",
    "FRSH": "Fresh",
    "FRZN": "Frozen",
    "HYGN": "Hygiene",
    "INCL": "",
    "IWS": "Wrapped",
    "MISC": "Miscellaneous",
    "MLT": "Multi",
    "MNERAL": "Mineral",
    "MNRL": "Mineral",
    "MXS": "Mixes",
    "PCKGD": "Packaged",
    "PK": "Pack",
    "PKLD": "Pickled",
    "PNT": "Peanut",
    "PREPCK": "Prepacked",
    "PROD": "Products",
    "PWDR": "Powder",
    "REFRGRATD": "Refrigerated",
    "RTS": "Ready to Serve",
    "SALD": "Salad",
    "SFT": "Soft",
    "SGL": "Single",
    "SNDWCH": "Sandwich",
    "SNGL": "Single",
    "SPRD": "Spread",
    "SRV": "Serve",
    "SS": "Single Serve",
    "SV": "Serve",
    "SW": "Sweet",
    "VEG": "Vegetables",
    "WTR": "Water",
}
_KEPT: Final = {"BBQ", "CD", "DVD", "GM", "HBC", "NZ", "SPF", "UHT", "USDA"}
_WORD: Final = re.compile(r"(\d?)([A-Z]+)")


@cache
def plain(text: str | None) -> str:
    """Abbreviations written out, what stands in brackets left out, in title case; empty for nothing.

    >>> plain("SFT DRNK 2 LITER BTL CARB INCL"), plain("CANDY BARS (SINGLES)(INCLUDING"), plain("BREAD:ITALIAN/FRENCH")
    ('Soft Drink 2 Liter Bottle Carbonated', 'Candy Bars', 'Bread: Italian/French')
    """
    if not text:
        return ""
    bare = re.sub(r"\([^)]*\)?", " ", text.upper()).replace(":", ": ")
    written = _WORD.sub(lambda found: found[1] + _write(found[2], bool(found[1])), bare)
    return " ".join(written.split()).strip(" -/&")


def _write(word: str, after_digit: bool) -> str:
    if after_digit:
        return "-pack " if word == "PK" else word.lower()
    return _WORDS.get(word, word if word in _KEPT else word.capitalize())


@cache
def size_of(text: str | None) -> str:
    """The package size in lower case, empty for nothing.

    >>> size_of("22 LB"), size_of("1/2 GAL"), size_of("1.5 L"), size_of(None)
    ('22 lb', '1/2 gal', '1.5 L', '')
    """
    return re.sub(r"(?<=\d) l$", " L", " ".join((text or "").lower().split()))


def title_of(kind: str, brand: str | None, size: str, product: int) -> str:
    """The title of an item.

    >>> title_of("Kids Cereal", "Private", "14.5 oz", 1141055), title_of("", "National", "", 26081)
    ('Kids Cereal, own brand, 14.5 oz', 'Item 26081')
    """
    if not kind:
        return f"Item {product}"
    return ", ".join(part for part in (kind, "own brand" if brand == "Private" else "", size) if part)
