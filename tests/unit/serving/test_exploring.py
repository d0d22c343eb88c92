"""New items come onto what was chosen, for whom and where the exploration says, and through the same filters."""

from typing import Any

import pytest

from contracts.experiments import Changes, Exploration
from contracts.exploration import chosen as explores
from contracts.items import Item
from contracts.merchandise import NOTHING
from serving.catalogue import Catalogue
from serving.choosing import Candidates, Chosen, Pick, may_show
from serving.exploring import explored
from serving.shelf import rows_of
from serving.wish import Wish

NOW_MS = 1_767_225_600_000
SHOP = Catalogue(
    {name: Item(item_id=name, title=f"T{name}", in_stock=name != "N2") for name in ("A", "B", "C", "N1", "N2")}, 0
)
EXPLORATION = Exploration(share=0.5, first_position=1)
LIST = Candidates("live", "redis", ["A", "B", "C"], [3.0, 2.0, 1.0])
SHOWN = Chosen([Pick(item, LIST, place) for place, item in enumerate(LIST.items)], LIST)
PEOPLE = [f"u.{n}" for n in range(200)]
EXPLORERS = [who for who in PEOPLE if explores(EXPLORATION, who, NOW_MS)]


def shelf(subject: str, hidden: Any = (), changes: Changes | None = None, **more: Any) -> Chosen:
    wish = Wish(n=10)
    given: dict[str, Any] = {"new": {"N1": (0, 0), "N2": (0, 0)}, "exploration": EXPLORATION} | more
    return explored(
        SHOWN,
        **given,
        changes=changes or Changes(),
        subject=subject,
        wish=wish,
        active=NOTHING,
        catalogue=SHOP,
        may=may_show(SHOP, set(hidden), wish),
        now_ms=NOW_MS,
    )


def ids(found: Chosen) -> list[str]:
    return [pick.item_id for pick in found.picks]


def test_only_those_whose_day_it_is_see_a_new_item_and_never_one_that_is_sold_out() -> None:
    assert 70 < len(EXPLORERS) < 130
    for subject in PEOPLE:
        expected = ["A", "N1", "B", "C"] if subject in EXPLORERS else ["A", "B", "C"]
        assert ids(shelf(subject)) == expected


def test_the_answer_marks_it_and_the_facts_of_the_list_stay() -> None:
    found = shelf(EXPLORERS[0])
    rows = rows_of(found.picks, SHOP, [])
    assert [row.new for row in rows] == [False, True, False, False]
    assert (rows[1].reason, rows[1].title) == ("new in the shop", "TN1")
    assert found.first is LIST and [row.score for row in rows] == [3.0, 0.0, 2.0, 1.0]


@pytest.mark.parametrize(
    "without",
    [
        {"hidden": ["N1"]},
        {"new": {}},
        {"changes": Changes(exploration=False)},
        {"exploration": Exploration(enabled=False, share=0.5, first_position=1)},
        {"exploration": Exploration(share=0.5, first_position=4)},
    ],
)
def test_nothing_new_is_shown_where_it_is_filtered_switched_off_or_out_of_reach(without: dict[str, Any]) -> None:
    assert all(shelf(subject, **without) is SHOWN for subject in EXPLORERS)


def test_a_variant_may_switch_it_on() -> None:
    off = Exploration(enabled=False, share=0.5, first_position=1)
    assert "N1" in ids(shelf(EXPLORERS[0], exploration=off, changes=Changes(exploration=True)))
