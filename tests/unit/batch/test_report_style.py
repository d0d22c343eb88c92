"""The style sheet: text and marks stand out in the light, in the dark and on paper."""

import re

import pytest

from batch.report_style import STYLE


def colours(block: str) -> dict[str, str]:
    return {name: value for name, value in re.findall(r"--([\w-]+): (#\w+);", block) if len(value) in (4, 7)}


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2, from 1 to 21."""
    light = []
    for colour in (one, other):
        digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        light.append(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_and_marks_can_be_told_from_what_is_behind_them(scheme: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    assert colours(blocks[0]).keys() == colours(blocks[1]).keys() <= colours(blocks[2]).keys()
    found = colours(blocks[0]) | colours(blocks[["light", "dark", "print"].index(scheme)])
    for behind in ("page", "panel"):
        for text in ("ink", "soft", "accent", "bad", "gold"):
            assert contrast(found[text], found[behind]) >= 4.5, (text, behind)
    assert contrast(found["ink"], found["wash"]) >= 7
    assert contrast(found["accent"], found["wash"]) >= 4.5
    assert contrast(found["bad"], found["bad-wash"]) >= 4.5
    for mark in ("live", "incumbent", "batch", "popularity", "other"):
        assert contrast(found[mark], found["panel"]) >= 3, mark
