"""Who is in which variant: a hash of unit and experiment, so that nothing is stored and everybody can check it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from contracts.experiments import Changes, Experiment, Variant, running_now

__all__ = ["Assigned", "assign", "assignments", "label", "merged", "unit_hash"]

_BITS: Final = 53
"""A float holds 53 bits exactly."""


class Assigned(NamedTuple):
    """A unit's variant in one experiment."""

    experiment: Experiment
    variant: Variant

    @property
    def label(self) -> str:
        """How answers, events and request ids name it.

        >>> from datetime import UTC
        >>> e = Experiment(id="e", start=datetime(2026, 1, 1, tzinfo=UTC), variants=(Variant(name="a"),))
        >>> Assigned(e, e.control).label
        'e:a'
        """
        return f"{self.experiment.id}:{self.variant.name}"


def unit_hash(purpose: str, salt: str, unit: str) -> float:
    """A number in [0, 1), uniform over units, and independent between purposes and salts.

    The first 53 bits of BLAKE2b over ``salt``, a zero byte, and ``unit``, personalised by ``purpose``.

    >>> round(unit_hash("variant", "diverse", "u.42"), 6)
    0.012851
    """
    data = f"{salt}\0{unit}".encode()
    digest = blake2b(data, digest_size=8, person=purpose.encode()).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS))


def assign(experiment: Experiment, unit: str) -> Variant | None:
    """The variant of ``unit`` (a subject, as ``u.42``), ``None`` where it takes no part. Time is not looked at."""
    place = unit_hash("layer", experiment.layer or experiment.id, unit)
    if not experiment.offset <= place < experiment.offset + experiment.share:
        return None
    left = unit_hash("variant", experiment.salt or experiment.id, unit) * sum(v.weight for v in experiment.variants)
    for variant in experiment.variants:
        left -= variant.weight
        if left < 0:
            return variant
    return experiment.variants[-1]  # rounding


def assignments(
    experiments: Iterable[Experiment], now: datetime, *, person: str, visitor: str, placement: str = ""
) -> list[Assigned]:
    """The variants that an answer is made with, by experiment id.

    Args:
        person: the subject after an alias was followed.
        visitor: the subject that was asked for; see :class:`Experiment` on the two.
        placement: where on the pages the answer goes; an experiment that names placements is for those alone.
    """
    found = []
    for experiment in running_now(experiments, now):
        if experiment.placements and placement not in experiment.placements:
            continue
        if variant := assign(experiment, person if experiment.unit == "person" else visitor):
            found.append(Assigned(experiment, variant))
    return found


def merged(assigned: Sequence[Assigned]) -> Changes:
    """All that the variants change; of two that change the same the first counts, which a checked document excludes."""
    values: dict[str, Any] = {}
    for each in reversed(assigned):
        values |= {name: getattr(each.variant.changes, name) for name in each.variant.changes.names}
    return Changes(**values)


def label(assigned: Iterable[Assigned]) -> str | None:
    """The ``variant`` of an answer and of the events about it: ``experiment:variant``, joined by commas."""
    return ",".join(each.label for each in assigned) or None
