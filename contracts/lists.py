"""What is kept of a person and what is served: recent actions, feature buckets, recommendation lists."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from contracts.errors import ContractError

__all__ = [
    "REV_BYTES",
    "Action",
    "BasedOn",
    "Reason",
    "RecommendationList",
    "Source",
    "UserValue",
    "covers",
    "decode_list",
    "decode_user",
    "encode_value",
    "merge_actions",
    "next_rev",
    "prune_buckets",
]

Source = Literal["live", "batch", "trending", "popular"]


class BasedOn(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The newest event a list reflects; ordered as events are, by (occurred_at, event_id)."""

    occurred_ms: int
    event_id: str


class Action(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One recent action. The order of the fields is the order of actions: (occurred_at, event_id)."""

    occurred_ms: int
    event_id: str
    event_type: str
    item_id: str


class Reason(msgspec.Struct, frozen=True, array_like=True):
    """One term of a score: the action's item it came from (or ``*`` for the batch list), and its share of the score."""

    item_id: str
    weight: float


class RecommendationList(msgspec.Struct, frozen=True, kw_only=True):
    """A ranked list. ``items``, ``scores`` and ``reasons`` run in parallel, best first; times are epoch ms UTC."""

    source: Source
    model_version: str
    based_on: BasedOn | None
    written_at: int
    items: list[str]
    scores: list[float]
    reasons: list[list[Reason]] = []

    def __post_init__(self) -> None:
        if len(self.items) != len(self.scores) or (self.reasons and len(self.reasons) != len(self.items)):
            message = (
                f"a list has {len(self.items)} items, {len(self.scores)} scores, {len(self.reasons)} reasons; "
                "expected as many of each (reasons may be absent)"
            )
            raise ValueError(message)


class UserValue(msgspec.Struct, frozen=True, kw_only=True):
    """All that is live of one person, under one Redis key, replaced as a whole by a compare-and-set on ``rev``.

    ``rev`` is 16 hex digits and the *first* field: the guard compares the first bytes of the stored value.
    ``actions`` are oldest first, at most 2·L. ``buckets`` maps a bucket start (epoch seconds, as text) to the values
    of :data:`contracts.features.USER_FEATURES`.
    """

    rev: str
    actions: list[Action] = []
    buckets: dict[str, list[float]] = {}
    live: RecommendationList | None = None


REV_BYTES: Final = len('{"rev":"0000000000000000"')
_encoder = msgspec.json.Encoder()
_user = msgspec.json.Decoder(UserValue)
_list = msgspec.json.Decoder(RecommendationList)


def next_rev(previous: str | None, now_us: int) -> str:
    """A revision above ``previous`` that still rises where a store lost its content: the clock, never backwards.

    >>> next_rev(None, 255), next_rev("00000000000000ff", 3)
    ('00000000000000ff', '0000000000000100')
    """
    floor = int(previous, 16) + 1 if previous else 0
    return f"{max(floor, now_us):016x}"


def encode_value(value: UserValue | RecommendationList) -> bytes:
    """The stored bytes.

    >>> encode_value(UserValue(rev="0" * 16))[:REV_BYTES]
    b'{"rev":"0000000000000000"'
    """
    return _encoder.encode(value)


def decode_user(data: bytes) -> UserValue:
    """Read a stored user value.

    Raises:
        ContractError: the bytes are not such a value.
    """
    try:
        return _user.decode(data)
    except msgspec.MsgspecError as exc:
        message = f"a stored user value cannot be read: {exc}; got {data[:80]!r}; expected a UserValue"
        raise ContractError(message) from exc


def decode_list(data: bytes) -> RecommendationList:
    """Read a stored list.

    Raises:
        ContractError: the bytes are not such a list.
    """
    try:
        return _list.decode(data)
    except msgspec.MsgspecError as exc:
        message = f"a stored list cannot be read: {exc}; got {data[:80]!r}; expected a RecommendationList"
        raise ContractError(message) from exc


def merge_actions(known: Iterable[Action], new: Iterable[Action], keep: int) -> list[Action]:
    """The newest ``keep`` distinct actions of both, oldest first; a set union by ``event_id``.

    Order of arrival, duplicates and replays do not matter:

    >>> a, b, c = Action(1, "a", "view", "A"), Action(2, "b", "view", "B"), Action(2, "c", "view", "C")
    >>> merge_actions([c, a], [b, a], keep=2) == merge_actions([b], [c, b, a], keep=2) == [b, c]
    True
    """
    merged = {action.event_id: action for action in known}
    for action in new:
        merged.setdefault(action.event_id, action)
    return sorted(merged.values())[-keep:]


def prune_buckets(buckets: dict[str, list[float]], now_ms: int, horizon_ms: int) -> dict[str, list[float]]:
    """The buckets that no window can reach any more are left out.

    >>> prune_buckets({"0": [1.0], "600": [2.0]}, now_ms=700_000, horizon_ms=300_000)
    {'600': [2.0]}
    """
    oldest = (now_ms - horizon_ms) // 1000 - 300
    return {start: values for start, values in buckets.items() if int(start) > oldest}


def covers(based_on: BasedOn | None, occurred_ms: int, event_id: str) -> bool:
    """Whether a list reflects an event, in the order of (occurred_at, event_id).

    >>> covers(BasedOn(5, "b"), 5, "a"), covers(BasedOn(5, "b"), 5, "c"), covers(None, 5, "a")
    (True, False, False)
    """
    return based_on is not None and based_on >= BasedOn(occurred_ms, event_id)
