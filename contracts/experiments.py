"""Experiments as data: which share of the people sees which variant of the shelf, decided by a hash alone.

A shop's experiments are one JSON document (:func:`contracts.lake.experiments_path`), read by serving every few seconds.
Nothing is stored of a person: the same unit in the same experiment always falls into the same variant, because the
variant is a pure function of the two (:func:`contracts.assignment.assign`).
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import combinations
from typing import Annotated, Final, Literal, NoReturn, get_args

import msgspec

from contracts.errors import ContractError
from contracts.ids import is_id

__all__ = [
    "METRICS",
    "MOST_LAYERS",
    "Changes",
    "Experiment",
    "Experiments",
    "Exploration",
    "Metric",
    "Status",
    "Unit",
    "Variant",
    "check_change",
    "decode_experiment",
    "decode_experiments",
    "encode_experiments",
    "running_now",
]

Status = Literal["draft", "running", "stopped"]
Unit = Literal["person", "visitor"]
Metric = Literal["click_through", "conversion", "revenue_per_unit", "total_revenue_per_unit"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)

MOST_LAYERS: Final = 2
"""How many experiments one answer may be in at once: their names travel in each request id (128 characters)."""

_Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_ID_LENGTH: Final = 18
_VARIANT_LENGTH: Final = 12
_PLACEMENT_LENGTH: Final = 16


class Changes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a variant does differently; what is absent stays as it is for everybody.

    ``model_version`` serves the lists of that version (it must be among the published ones that are kept);
    ``popular_only`` serves nothing but the popular list; ``rules`` switches the shop's merchandising rules;
    ``max_per_category`` sets the diversity control, 0 for none; ``exploration`` switches the new items.
    """

    model_version: str | None = None
    popular_only: bool | None = None
    rules: bool | None = None
    max_per_category: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    exploration: bool | None = None

    @property
    def names(self) -> frozenset[str]:
        """The settings that are changed.

        >>> sorted(Changes(popular_only=True, rules=False).names)
        ['popular_only', 'rules']
        """
        return frozenset(name for name in self.__struct_fields__ if getattr(self, name) is not None)


class Variant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One arm: its name, its weight among the variants, and what it changes (nothing: the shelf as it is)."""

    name: str
    weight: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0
    changes: Changes = Changes()


class Experiment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One experiment; the first variant is the control.

    ``unit`` is what the variant sticks to. ``person``: the user, on all devices; an anonymous visitor is a person of
    their own until they sign in, and is from then on in the variant of the user. ``visitor``: the id the page asks
    with; a page that goes on asking as the anonymous visitor keeps that variant beyond the sign-in.

    ``layer`` excludes: experiments of one layer share its people out, each has those from ``offset`` to ``offset`` +
    ``share``. Without a layer an experiment takes its share independently of all others.

    ``salt`` decides who is in which variant (default: the id); take another to deal the people out anew.
    ``placements`` limits it to some places of the pages. ``minimum_effect`` is the relative change of ``metric`` that
    is worth finding, and ``baseline`` the value expected of the control; both are for planning, and the sequential
    test is sharpest there.
    """

    id: str
    status: Status = "draft"
    description: str = ""
    start: Annotated[datetime, msgspec.Meta(tz=True)]
    end: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    salt: str = ""
    unit: Unit = "person"
    share: _Share = 1.0
    layer: str = ""
    offset: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    placements: tuple[str, ...] = ()
    variants: tuple[Variant, ...]
    metric: Metric = "click_through"
    baseline: Annotated[float, msgspec.Meta(gt=0)] | None = None
    minimum_effect: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.05

    def active(self, now: datetime) -> bool:
        """Whether it runs at ``now`` (UTC): ``running``, from ``start`` until before ``end``."""
        return self.status == "running" and self.start <= now and (self.end is None or now < self.end)

    @property
    def control(self) -> Variant:
        """The variant that the others are compared with."""
        return self.variants[0]

    @property
    def changed(self) -> frozenset[str]:
        """The settings that any of its variants changes."""
        return frozenset[str]().union(*(variant.changes.names for variant in self.variants))


class Exploration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How items that the model does not know yet get seen, see :mod:`contracts.exploration`.

    Of all shelves a ``share`` (by person and day) shows at most ``per_shelf`` new items, none above place
    ``first_position`` (0 is the best). An item is new until ``enough`` impressions.
    """

    enabled: bool = True
    share: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.1
    per_shelf: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1
    first_position: Annotated[int, msgspec.Meta(ge=0, le=200)] = 4
    enough: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    seed: str = ""


class Experiments(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The document of a shop."""

    experiments: tuple[Experiment, ...] = ()
    exploration: Exploration = Exploration()

    def get(self, experiment_id: str) -> Experiment | None:
        """The experiment of that id."""
        return next((each for each in self.experiments if each.id == experiment_id), None)


_decode = msgspec.json.Decoder(Experiments)
_decode_one = msgspec.json.Decoder(Experiment)
_encoder = msgspec.json.Encoder()


def decode_experiments(data: bytes) -> Experiments:
    """Read and check a shop's document; unknown fields are refused, since a mistyped setting would change nothing.

    >>> text = b'''{"experiments": [{"id": "diverse", "status": "running", "start": "2026-01-01T00:00:00Z",
    ...   "variants": [{"name": "as-is"}, {"name": "diverse", "changes": {"max_per_category": 2}}]}]}'''
    >>> decode_experiments(text).experiments[0].control.name
    'as-is'

    Raises:
        ContractError: it is not such a document, or two experiments would disturb each other.
    """
    try:
        found = _decode.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        message = f"the experiments cannot be read: {exc}; expected an object with experiments and exploration"
        raise ContractError(message) from exc
    for experiment in found.experiments:
        _check(experiment)
    _check_together(found.experiments)
    return found


def decode_experiment(data: bytes) -> Experiment:
    """Read and check one experiment.

    >>> decode_experiment(b'{"id": "A B", "start": "2026-01-01T00:00:00Z", "variants": []}')
    Traceback (most recent call last):
    contracts.errors.ContractError: id of an experiment is 'A B'; expected 1 to 18 of a-z, 0-9, '-' and '_'

    Raises:
        ContractError: it is not an experiment.
    """
    try:
        found = _decode_one.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as exc:
        message = f"the experiment cannot be read: {exc}; expected an object with id, start and variants"
        raise ContractError(message) from exc
    _check(found)
    return found


def encode_experiments(document: Experiments) -> bytes:
    """The stored bytes; reading them gives an equal document.

    >>> decode_experiments(encode_experiments(Experiments())) == Experiments()
    True
    """
    return _encoder.encode(document)


def check_change(before: Experiment, after: Experiment) -> None:
    """Refuse what would mix two experiments in one: once it ran, only its status, end and description may change.

    Raises:
        ContractError: another field of a running or stopped experiment differs, or a stopped one would run again.
    """
    if before.status == "draft":
        return
    free = {"status", "end", "description"}
    for name in before.__struct_fields__:
        if name not in free and getattr(before, name) != getattr(after, name):
            _refuse(f"{name} of experiment {before.id!r} would change while it is {before.status}", "a new experiment")
    if after.status != before.status and after.status != "stopped":
        _refuse(f"experiment {before.id!r} would go from {before.status} to {after.status}", "a new experiment")


def _check(experiment: Experiment) -> None:
    _check_name(experiment.id, "id of an experiment", _ID_LENGTH)
    what = f"experiment {experiment.id!r}"
    if len(experiment.variants) < 2:
        _refuse(f"{what} has {len(experiment.variants)} variants", "two or more, the control first")
    names = [variant.name for variant in experiment.variants]
    for name in names:
        _check_name(name, f"the name of a variant of {what}", _VARIANT_LENGTH)
    if len(set(names)) < len(names):
        _refuse(f"{what} has variants {', '.join(names)}", "each name once")
    for placement in experiment.placements:
        _check_name(placement, f"a placement of {what}", _PLACEMENT_LENGTH)
    if experiment.layer:
        _check_name(experiment.layer, f"the layer of {what}", _ID_LENGTH)
    if experiment.salt and not is_id(experiment.salt):
        _refuse(f"the salt of {what} is {experiment.salt[:40]!r}", "1 to 128 printable characters")
    if experiment.end is not None and experiment.end <= experiment.start:
        _refuse(f"{what} ends at {experiment.end.isoformat()}", f"after its start, {experiment.start.isoformat()}")
    if experiment.offset + experiment.share > 1 + 1e-9:
        _refuse(f"{what} has offset {experiment.offset} and share {experiment.share}", "at most 1 together")
    if experiment.offset and not experiment.layer:
        _refuse(f"{what} has offset {experiment.offset} and no layer", "offset only within a layer")
    for variant in experiment.variants:
        if (version := variant.changes.model_version) is not None and not _is_version(version):
            _refuse(
                f"model_version of variant {variant.name!r} is {version[:40]!r}",
                "1 to 25 printable characters without ~",
            )
        if variant.changes.popular_only and version is not None:
            _refuse(f"variant {variant.name!r} has popular_only and model_version", "one of the two")


def _check_together(experiments: Sequence[Experiment]) -> None:
    ids = [experiment.id for experiment in experiments]
    if len(set(ids)) < len(ids):
        _refuse(f"experiments are {', '.join(ids)}", "each id once")
    running = [experiment for experiment in experiments if experiment.status == "running"]
    for one, other in combinations(running, 2):
        if not _meet(one, other):
            continue
        pair = f"experiments {one.id!r} and {other.id!r} run at the same time and"
        if one.layer and one.layer == other.layer:
            if one.offset < other.offset + other.share - 1e-9 and other.offset < one.offset + one.share - 1e-9:
                _refuse(f"{pair} overlap in layer {one.layer!r}", "offset and share that keep them apart")
        elif common := one.changed & other.changed:
            _refuse(f"{pair} both change {', '.join(sorted(common))}", "both in one layer, so that nobody is in both")
    for experiment in running:
        at_once = {each.layer or each.id for each in running if _meet(experiment, each)}
        if len(at_once) > MOST_LAYERS:
            _refuse(f"{', '.join(sorted(at_once))} run at the same time", f"at most {MOST_LAYERS} layers at once")


def _meet(one: Experiment, other: Experiment) -> bool:
    """Whether their times overlap."""
    return (one.end is None or other.start < one.end) and (other.end is None or one.start < other.end)


def _is_version(version: str) -> bool:
    return is_id(version) and len(version) <= 25 and "~" not in version


def _check_name(name: str, what: str, length: int) -> None:
    if len(name) > length or not _NAME.fullmatch(name):
        _refuse(f"{what} is {name[:40]!r}", f"1 to {length} of a-z, 0-9, '-' and '_'")


def _refuse(got: str, expected: str) -> NoReturn:
    message = f"{got}; expected {expected}"
    raise ContractError(message)


def running_now(experiments: Iterable[Experiment], now: datetime) -> tuple[Experiment, ...]:
    """Those that are active at ``now``, by id."""
    return tuple(sorted((each for each in experiments if each.active(now)), key=lambda each: each.id))
