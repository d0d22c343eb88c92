"""The model's block in a stored value: always what the look-ups would give, however the value came about."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contracts.lists import Action, RecommendationList, UserValue, decode_user, encode_value
from contracts.packed import LETTERS, Indexed, Packed, pack, split_ids, unpack
from contracts.snapshot import Manifest, ModelSettings, Snapshot, write_snapshot
from streaming import indexed
from streaming.batching import Person
from streaming.columns import histories_of
from streaming.live_blocks import Names, live_blocks
from streaming.revising import revise
from streaming.shelf_scoring import live_arrays, live_lists

NOW_MS = 1_760_000_000_000
ITEMS = [f"I{at}" for at in range(30)]
UNKNOWN = "not in the model"


@pytest.fixture(scope="module")
def open_snapshot(
    tmp_path_factory: pytest.TempPathFactory, make_manifest: Callable[..., Manifest]
) -> Callable[[str, list[str]], Snapshot]:
    weights = np.random.default_rng(5).random((30, 30)).astype(np.float32)

    def make(version: str, items: list[str]) -> Snapshot:
        folder: Path = tmp_path_factory.mktemp("snapshot") / version
        manifest = make_manifest(version=version, model=ModelSettings(history=4, decay=3.0, blend=0.5))
        rows, columns = np.nonzero(weights > 0.6)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=30))])
        write_snapshot(folder, manifest, items, (indptr, columns, weights[rows, columns]), np.arange(30, 0, -1))
        return Snapshot.open(folder)

    return make


@pytest.fixture(scope="module")
def snapshot(open_snapshot: Callable[[str, list[str]], Snapshot]) -> Snapshot:
    return open_snapshot("v1", ITEMS)


def acted(rng: random.Random, number: int) -> tuple[int, str, str, str]:
    """An action at about its place in time; now and then one that is known already."""
    item = rng.choice([*ITEMS, UNKNOWN])
    return (NOW_MS + number - rng.choice([0, 0, 0, 0, 3]), f"e{number - rng.choice([0, 0, 0, 1])}", "v", item)


@pytest.mark.parametrize("seed", range(20))
def test_places_follow_the_actions_in_whatever_order_and_number_they_come(snapshot: Snapshot, seed: int) -> None:
    rng = random.Random(seed)
    packed = Packed()
    for number in range(60):
        news = [acted(rng, number) for _ in range(rng.choice([1, 1, 1, 2, 6]))]
        revise(packed, Person(actions=news), 8, NOW_MS)
        if rng.random() < 0.7:
            indexed.place(packed, snapshot)
            assert packed.indexed is not None
            placed = np.frombuffer(packed.indexed.rows, "<i4").tolist()
            assert placed == snapshot.rows(split_ids(packed.items)).tolist()
        packed = unpack(pack("0" * 16, packed))


def test_another_model_makes_the_block_anew_and_asks_for_its_list(
    snapshot: Snapshot, open_snapshot: Callable[[str, list[str]], Snapshot]
) -> None:
    packed = Packed()
    revise(packed, Person(actions=[(NOW_MS, "e", "v", "I0")]), 8, NOW_MS)
    indexed.place(packed, snapshot)
    known = indexed.block_of(packed, snapshot.version)
    indexed.embed(known, np.array([3, -1], np.int32), np.array([1.0, 0.5], np.float32), NOW_MS)
    assert indexed.fresh(known, NOW_MS // 1000)
    other = open_snapshot("v2", ITEMS[::-1])
    indexed.place(packed, other)
    assert not indexed.fresh(indexed.block_of(packed, other.version), NOW_MS // 1000)
    assert packed.indexed is not None
    assert np.frombuffer(packed.indexed.rows, "<i4").tolist() == [29]
    assert indexed.listed_of_values([packed]).rows.tolist() == []


def test_a_list_is_looked_for_again_after_ten_minutes_and_its_absence_after_half_a_minute() -> None:
    known, rows, scores, now_s = Indexed("v1"), np.array([1], np.int32), np.ones(1, np.float32), NOW_MS // 1000
    assert not indexed.fresh(known, now_s)
    indexed.embed(known, rows, scores, NOW_MS)
    assert [indexed.fresh(known, now_s + s) for s in (0, 599, 600)] == [True, True, False]
    indexed.embed(known, rows[:0], scores[:0], NOW_MS)
    assert [indexed.fresh(known, now_s + s) for s in (0, 29, 30)] == [True, True, False]


def people(seed: int, most: int) -> list[list[Action]]:
    rng = random.Random(seed)
    kinds = sorted(LETTERS)
    return [
        [Action(NOW_MS + at, f"e{at}", rng.choice(kinds), rng.choice([*ITEMS, UNKNOWN])) for at in range(count)]
        for count in [rng.randint(0, most) for _ in range(25)]
    ]


def packed_of(actions: list[Action]) -> Packed:
    return unpack(encode_value(UserValue(rev="0" * 16, actions=actions)))


def test_histories_of_stored_values_are_those_of_their_objects(snapshot: Snapshot) -> None:
    known = people(1, 9)
    values = [packed_of(actions) for actions in known]
    for value in values:
        indexed.place(value, snapshot)
    found, expected = indexed.histories_of_values(values, 4), histories_of(known, 4)
    assert found.rows is not None
    assert found.rows.tolist() == snapshot.rows(list(expected.items)).tolist()
    assert list(found.items) == list(expected.items)
    for name in ("offsets", "letters", "times"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    next(value for value in values if value.letters).indexed = None
    assert indexed.histories_of_values(values, 4).rows is None


def test_a_stored_list_is_the_list_reasons_included_of_people_with_more_actions_than_count(snapshot: Snapshot) -> None:
    known = [actions for actions in people(2, 9) if actions]
    values = [packed_of(actions) for actions in known]
    batch = RecommendationList(
        source="batch", model_version="v1", based_on=None, written_at=0, items=["I7", UNKNOWN, "I9"], scores=[3, 2, 1]
    )
    for value in values:
        indexed.place(value, snapshot)
        block = indexed.block_of(value, "v1")
        indexed.embed(block, snapshot.rows(batch.items), np.array(batch.scores, np.float32), NOW_MS)
    histories = indexed.histories_of_values(values, 4)
    ranked = live_arrays(snapshot, histories, indexed.listed_of_values(values), 10, NOW_MS)
    stored = live_blocks(ranked, histories, values, "v1", NOW_MS, Names.of(snapshot.items))
    expected = live_lists(snapshot, known, [batch] * len(known), 10, NOW_MS)
    for value, block, want in zip(values, stored.blocks, expected, strict=True):
        value.live = block
        assert decode_user(pack("0" * 16, value)).live == want
