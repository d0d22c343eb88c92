"""The parts of the parity check and of the rebuild that need no engine."""

import msgspec
import pytest

from batch.parity import settled
from batch.parity_expected import NO_ITEM, NO_PERSON, Frame
from batch.parity_report import EXAMPLES, Report
from batch.rebuild_write import PersonRow, merged
from contracts.lists import MOST_ALIASES, Action, Owner, UserValue
from contracts.live import FEATURES, item_features, user_features

_MINUTE = 60_000
_DAY = 24 * 60 * _MINUTE


HELD: dict[str, list[str]] = {"bought": [], "cart": []}
"""What a person holds is compared, too; it is no feature."""


def test_every_feature_of_the_registry_is_recomputed_and_no_other() -> None:
    for entity, known, more in (("user", NO_PERSON, HELD), ("item", NO_ITEM, {})):
        assert set(known) == {column for f in FEATURES if f.entity == entity for column in f.columns} | set(more)


def test_both_sides_agree_on_somebody_and_something_unknown() -> None:
    assert user_features({}, [], {}, {}, 0) | HELD == NO_PERSON
    assert item_features({}, 0) == NO_ITEM


def test_a_report_agrees_only_if_something_was_compared_that_is_more_than_nothing() -> None:
    report = Report(0)
    assert not report.agreed
    report.add("user.views_1h", "u.1", 0.0, 0.0)
    assert not report.agreed
    report.add("user.views_1h", "u.2", 2.0, 2.0)
    assert report.agreed
    report.add_row("user.", "u.3", {"views_1h": 1.0}, {"views_1h": 1.0, "surprise": 3})
    assert not report.agreed
    assert report.features["user.surprise"].mismatches == 1


def test_without_an_event_what_is_true_of_everybody_is_no_agreement() -> None:
    report = Report(0, events=0)
    report.add("item.conversion_24h", "1", 0.02, 0.02)
    assert not report.agreed
    report.events = 1
    assert report.agreed


def test_many_differences_are_counted_and_the_first_are_shown() -> None:
    report = Report(0)
    for number in range(EXAMPLES + 5):
        report.add("item.views_1h", f"i{number}", 1.0, 2.0)
    assert report.features["item.views_1h"].mismatches == EXAMPLES + 5
    text = report.text()
    assert text.count("DIFFERS item.views_1h of ") == EXAMPLES
    assert "DIFFERS item.views_1h: 5 more" in text
    assert report.result()["features"]["item.views_1h"]["mismatches"] == EXAMPLES + 5


@pytest.mark.parametrize(
    ("at_ms", "begin", "end"),
    [(_DAY, 0, _DAY + 5 * _MINUTE), (_DAY + 1, 0, _DAY + 5 * _MINUTE), (_DAY - 1, -5 * _MINUTE, _DAY)],
    ids=["on the edge", "behind it", "before it"],
)
def test_a_window_holds_whole_spans_at_both_ends(at_ms: int, begin: int, end: int) -> None:
    assert Frame(at_ms, -_DAY, 0, 40).since("24h") == f"(occurred_ms >= {begin} AND occurred_ms < {end})"


def test_the_default_instant_lets_delivery_and_checkpoints_catch_up() -> None:
    assert settled(15 * _MINUTE + 119_999, 120) == 10 * _MINUTE - 1
    assert settled(15 * _MINUTE + 120_000, 120) == 15 * _MINUTE - 1


def test_merging_the_lake_keeps_what_is_newer_and_the_live_list() -> None:
    known = UserValue(
        rev="00000000000000ff",
        actions=[Action(9, "live", "view", "A")],
        buckets={"300": [5.0, 1.0]},
        aliases={"x": 7},
        owner=Owner(3, "u.1"),
    )
    row = PersonRow("u.2", [Action(8, "lake", "view", "B")], {300: [4.0, 2.0]}, {"x": 5, "y": 6}, Owner(2, "u.9"))
    value = merged(known, row, keep=40, now_us=0)
    assert [action.event_id for action in value.actions] == ["lake", "live"]
    assert (value.buckets, value.aliases, value.owner) == ({"300": [5.0, 2.0]}, {"y": 6, "x": 7}, Owner(3, "u.1"))
    assert value.rev > known.rev
    assert msgspec.structs.replace(merged(value, row, 40, 0), rev=value.rev) == value


def test_a_rebuilt_person_keeps_the_newest_aliases_only() -> None:
    row = PersonRow("u.1", aliases={f"v{n}": n for n in range(MOST_ALIASES + 3)})
    assert list(merged(None, row, 40, 0).aliases) == [f"v{n}" for n in range(3, MOST_ALIASES + 3)]
