"""What is stored of a person reads back as it was, by those who want objects and by those who want blocks."""

import random

import msgspec
import pytest

from contracts.errors import ContractError
from contracts.events import EVENT_TYPES
from contracts.held import CartMark
from contracts.lists import (
    Action,
    BasedOn,
    Owner,
    Reason,
    RecommendationList,
    UserValue,
    decode_user,
    encode_value,
)
from contracts.packed import LETTERS, MOST_REASONS, REV_BYTES, TYPES


def ranking(draw: random.Random, size: int, *, explained: bool) -> RecommendationList:
    terms = [f'ware {at} "é\\' for at in range(5)] + ["*"]
    reasons = [
        [Reason(item, draw.randrange(-2000, 2000) / 1000) for item in draw.sample(terms, draw.randint(0, MOST_REASONS))]
        for _ in range(size)
    ]
    return RecommendationList(
        source=draw.choice(("live", "popular")),
        model_version="v1",
        based_on=BasedOn(5, "e\u00e9") if draw.random() < 0.5 else None,
        written_at=2**41,
        items=[f"item {at}" for at in range(size)],
        scores=[draw.randrange(0, 32) / 16 for _ in range(size)],
        reasons=reasons if explained else [],
    )


@pytest.mark.parametrize("seed", range(30))
def test_a_value_reads_back_as_it_was(seed: int) -> None:
    draw = random.Random(seed)
    actions = [
        Action(2**40 + at, f"id-{at}", draw.choice(EVENT_TYPES), draw.choice(["A", "B c", "\u00fc"]))
        for at in range(draw.randint(0, 40))
    ]
    width = draw.choice([0, 4, 7])
    value = UserValue(
        rev=f"{draw.getrandbits(50):016x}",
        actions=actions,
        buckets={
            str(300 * at): [draw.random() for _ in range(width)] for at in range(draw.randint(0, 5) if width else 0)
        },
        live=draw.choice([None, ranking(draw, draw.randint(0, 50), explained=draw.random() < 0.8)]),
        aliases={f"browser-{at}": 2**40 + at for at in range(draw.randint(0, 3))},
        owner=draw.choice([None, Owner(7, "u.kim")]),
        bought={f"good {at} \u00fc": 2**40 + at for at in range(draw.randint(0, 9))},
        cart=[CartMark(2**40 + at, f"é{at}", f"c {at}", draw.random() < 0.5) for at in range(draw.randint(0, 9))],
    )
    data = encode_value(value)
    assert data[:REV_BYTES] == value.rev.encode()
    assert decode_user(data) == value


def test_a_value_from_before_purchases_and_carts_were_kept_is_whole() -> None:
    older = (b"", "", "", "", 0, b"", b"", {"browser": 5}, (7, "u.kim"))
    value = decode_user(b"0" * 16 + msgspec.msgpack.encode(older))
    assert (value.aliases, value.bought, value.cart) == ({"browser": 5}, {}, [])


def test_every_event_type_has_a_letter_of_its_own() -> None:
    assert set(LETTERS) == set(EVENT_TYPES)
    assert len(TYPES) == len(LETTERS)


@pytest.mark.parametrize("data", [b"", b"x", b'{"rev":"0000000000000000"}', b"0" * 16, b"0" * 16 + b"\x99"])
def test_other_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(ContractError, match="expected a UserValue"):
        decode_user(data)


def test_a_torn_value_is_refused() -> None:
    value = UserValue(
        rev="0" * 16, actions=[Action(1, "a", "view", "A")], live=ranking(random.Random(1), 9, explained=True)
    )
    data = encode_value(value)
    for end in range(REV_BYTES, len(data)):
        with pytest.raises(ContractError):
            decode_user(data[:end])
