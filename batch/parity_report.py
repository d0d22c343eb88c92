"""What a parity check compared, and where the two sides differ."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["EXAMPLES", "Mismatch", "Report", "Tally", "same"]

EXAMPLES: Final = 20
"""How many differences of a feature are kept with their values."""

_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One value that is not what the lake says."""

    feature: str
    entity: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.feature} of {self.entity}: expected {_short(self.expected)}, found {_short(self.found)}"


@dataclass(slots=True)
class Tally:
    """Counts of one feature. ``present`` is how many of the compared values were more than nothing on either side."""

    compared: int = 0
    present: int = 0
    mismatches: int = 0
    examples: list[Mismatch] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """All of one check: ``at_ms`` is the instant, ``accounts`` what became of the lake's records.

    ``events`` of the lake up to then can be known to the live side; ``None`` where nobody looked.
    """

    at_ms: int
    events: int | None = None
    features: dict[str, Tally] = field(default_factory=dict)
    accounts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        """Values compared."""
        return sum(tally.compared for tally in self.features.values())

    @property
    def mismatches(self) -> int:
        """Values that differ."""
        return sum(tally.mismatches for tally in self.features.values())

    @property
    def agreed(self) -> bool:
        """Whether something was compared that is more than nothing, and nothing differs.

        What somebody unknown has (a conversion by the prior alone) is nothing, if there are no events.
        """
        return self.mismatches == 0 and self.events != 0 and any(tally.present for tally in self.features.values())

    def add(self, feature: str, entity: str, expected: Any, found: Any) -> None:
        """Compare one value."""
        tally = self.features.setdefault(feature, Tally())
        tally.compared += 1
        tally.present += bool(expected) or bool(found)
        if not same(expected, found):
            tally.mismatches += 1
            if len(tally.examples) < EXAMPLES:
                tally.examples.append(Mismatch(feature, entity, expected, found))

    def add_row(self, prefix: str, entity: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Compare all features of an entity by name; a name that one side does not have is ``None`` there."""
        for name in {**expected, **found}:
            self.add(f"{prefix}{name}", entity, expected.get(name), found.get(name))

    def result(self) -> dict[str, Any]:
        """The figures of the RESULT line."""
        features = {
            name: {"compared": tally.compared, "mismatches": tally.mismatches, "present": tally.present}
            for name, tally in sorted(self.features.items())
        }
        about = {"at_ms": self.at_ms, "events": self.events, "accounts": self.accounts, "seconds": self.seconds}
        return {"compared": self.compared, "mismatches": self.mismatches, "features": features} | about

    def text(self) -> str:
        """For people: the counts a feature, then the differences."""
        lines = [f"{'feature':<28} {'compared':>10} {'present':>10} {'differ':>8}"]
        for name, tally in sorted(self.features.items()):
            lines.append(f"{name:<28} {tally.compared:>10,} {tally.present:>10,} {tally.mismatches:>8,}")
        for tally in self.features.values():
            lines += [f"DIFFERS {example}" for example in tally.examples]
            if tally.mismatches > len(tally.examples) > 0:
                lines.append(f"DIFFERS {tally.examples[0].feature}: {tally.mismatches - len(tally.examples):,} more")
        return "\n".join(lines)


def same(expected: Any, found: Any) -> bool:
    """Equal; fractional numbers up to 1e-9 of their size, because sums are added up in different orders.

    Whole numbers (counts, times) are compared exactly, whatever their type; lists and tuples member by member.

    >>> same(0.1 + 0.2, 0.3), same(3, 3.0), same(1_700_000_000_000, 1_700_000_000_001), same(None, 0)
    (True, True, False, False)
    >>> same([("tea", 0.1 + 0.2)], [("tea", 0.3)]), same(["A"], ["A", "B"])
    (True, False)
    """
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        return len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, float) and isinstance(found, float):
        if expected.is_integer() and found.is_integer():
            return expected == found
        return math.isclose(expected, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(expected == found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
