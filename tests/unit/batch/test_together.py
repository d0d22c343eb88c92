"""Bought together: baskets by person and pause, pairs by how much more often they meet than chance."""

import numpy as np

from batch.lists import PURCHASE
from batch.log import Log
from batch.together import baskets_of, together_items

HOUR = 3_600_000


def log(*people: list[tuple[int, int, int]]) -> Log:
    """A log of persons' (time, type, item)."""
    rows = [each for person in people for each in person]
    ms, kinds, items = (np.array([row[at] for row in rows]) for at in range(3))
    ends = np.cumsum([0, *(len(person) for person in people)])
    nothing = np.zeros(len(rows), np.int64)
    return Log([f"u.{n}" for n in range(len(people))], ends, items.astype(np.int32), kinds.astype(np.int8), ms, nothing)


def bought(at: int, *items: int) -> list[tuple[int, int, int]]:
    return [(at + place, PURCHASE, item) for place, item in enumerate(items)]


def test_a_basket_is_what_one_person_bought_without_an_hours_pause() -> None:
    found = baskets_of(
        log(
            [*bought(0, 1, 2, 1), (5, 0, 7), *bought(HOUR, 3), *bought(3 * HOUR, 4, 5)],
            bought(3 * HOUR + 1, 6, 2),
            bought(0, 9),  # alone in its basket
            bought(0, -2, 8),  # an item that the model does not have
        )
    )
    assert [found.items[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)] == [
        [1, 2, 3],
        [4, 5],
        [2, 6],
    ]


def test_partners_come_before_what_everybody_buys_and_what_met_once_is_left_out() -> None:
    people = [bought(0, 0, 1, 9) for _ in range(20)] + [bought(0, 9, 2 + n % 5) for n in range(60)] + [bought(0, 0, 8)]
    found = together_items(baskets_of(log(*people)), 10, (0, 10), 3)
    assert found.items[0].tolist() == [1, 9, -1]
    assert found.items[8].tolist() == [-1, -1, -1]
    assert 0 < found.scores[0][1] < found.scores[0][0] < 1


def test_blocks_of_rows_give_what_all_rows_give() -> None:
    draw = np.random.default_rng(3)
    baskets = baskets_of(log(*(bought(0, *draw.integers(0, 12, 4).tolist()) for _ in range(200))))
    whole = together_items(baskets, 12, (0, 12), 4)
    parts = [together_items(baskets, 12, block, 4) for block in ((0, 5), (5, 12))]
    assert np.array_equal(np.vstack([part.items for part in parts]), whole.items)
    assert np.array_equal(np.vstack([part.scores for part in parts]), whole.scores)


def test_without_purchases_there_is_nothing() -> None:
    baskets = baskets_of(log([(0, 0, 1), (1, 0, 2)]))
    assert (together_items(baskets, 3, (0, 3), 2).items == -1).all()
