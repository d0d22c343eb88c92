"""Purchases and carts are unions: whatever order events come in, however often, the same is kept and told."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import held
from contracts.held import CartMark, in_cart, merge_bought, merge_cart


class Did(NamedTuple):
    at: int
    event_id: str
    kind: str
    item: str


ITEMS = st.sampled_from("ABCDEFGH")
EVENTS = st.lists(
    st.builds(Did, st.integers(0, 30), st.uuids().map(str), st.sampled_from(held.HELD_TYPES), ITEMS),
    max_size=40,
    unique_by=lambda did: did.event_id,
)


class Kept(NamedTuple):
    bought: dict[str, int]
    cart: list[CartMark]

    def after(self, events: list[Did]) -> "Kept":
        bought: dict[str, int] = {}
        for did in events:
            if did.kind == "purchase":
                bought[did.item] = max(did.at, bought.get(did.item, -1))
        marks = [CartMark(d.at, d.event_id, d.item, d.kind == "add_to_cart") for d in events if d.kind != "purchase"]
        return Kept(merge_bought(self.bought, bought, -1), merge_cart(self.cart, marks, -1))


def replayed(events: list[Did]) -> set[str]:
    """The plain model: events in their order, a purchase the last of its millisecond."""
    cart: set[str] = set()
    for did in sorted(events, key=lambda did: (did.at, did.kind == "purchase", did.event_id)):
        if did.kind == "add_to_cart":
            cart.add(did.item)
        else:
            cart.discard(did.item)
    return cart


@given(EVENTS)
def test_the_cart_is_what_a_replay_in_order_leaves(events: list[Did]) -> None:
    kept = Kept({}, []).after(events)
    assert set(in_cart(kept.bought, kept.cart)) == replayed(events)
    assert kept.bought == {i: max(d.at for d in events if (d.kind, d.item) == ("purchase", i)) for i in kept.bought}


@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_repetition_and_batches_do_not_matter_also_where_much_is_forgotten(
    events: list[Did], draw: object, most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held, "MOST_BOUGHT", most)
        patch.setattr(held, "MOST_CART", most)
        once = Kept({}, []).after(events)
        again = [*events, *events[::2]]
        draw.shuffle(again)  # type: ignore[attr-defined]
        kept = Kept({}, [])
        for did in again:
            kept = kept.after([did])
        assert kept == once
        assert in_cart(kept.bought, kept.cart) == in_cart(once.bought, once.cart)
        assert len(kept.bought) <= most and len(kept.cart) <= most


def test_an_add_from_before_everything_that_is_remembered_as_bought_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held, "MOST_BOUGHT", 2)
    events = [Did(1, "a", "add_to_cart", "A"), Did(2, "b", "purchase", "A")]
    events += [Did(3 + n, f"c{n}", "purchase", item) for n, item in enumerate("BC")]
    for order in (events, events[::-1]):
        kept = Kept({}, [])
        for did in order:
            kept = kept.after([did])
        assert (list(kept.bought), in_cart(kept.bought, kept.cart)) == (["B", "C"], [])
