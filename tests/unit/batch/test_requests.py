"""Requests see what was known at their moment and nothing else; their features are those the stream computes."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from batch.evaluate import Case
from batch.lists import Lists
from batch.log import Log
from batch.ranker import RequestMoments, block_moments, sum_moments
from batch.requests import (
    Trends,
    daily_actions,
    decode_moments,
    encode_moments,
    moments_by_day,
    next_action_cases,
    ranked_lists,
    request_block,
    request_moments_path,
)
from contracts.errors import TrainingError
from contracts.events import ACTION_TYPES
from contracts.features import ITEM_FEATURES, bucket_start
from contracts.lists import Action, RecommendationList
from contracts.ranker import NAMES, POOL, ItemValues, trend_sums
from contracts.scoring import action_weights, score_rows
from contracts.snapshot import Manifest, ModelSettings, Snapshot, write_snapshot
from streaming.shelf_scoring import live_lists

ITEMS, PEOPLE = 30, 12
HOUR, DAY_MS = 3_600_000, 86_400_000
START = 1_760_000_000_000
MODEL = ModelSettings(history=6, decay=3.0, blend=0.7, theta=0.8)
BETA = np.random.default_rng(99).normal(0, 1, len(NAMES))


def make_log(seed: int, events: int = 1500) -> Log:
    """Two days of random actions; items from −2 down are unknown to the model."""
    rng = np.random.default_rng(seed)
    person, ms = rng.integers(0, PEOPLE, events), START + rng.integers(0, 2 * DAY_MS, events)
    order = np.lexsort((ms, person))
    item = np.minimum((rng.pareto(1.0, events) * 4).astype(np.int32), ITEMS + 3)
    item = np.where(item >= ITEMS, -2 - (item - ITEMS), item).astype(np.int32)
    kind = rng.integers(0, len(ACTION_TYPES), events).astype(np.int8)
    unit = (ms - START) // (6 * HOUR) * PEOPLE + person
    offsets = np.searchsorted(person[order], np.arange(PEOPLE + 1))
    return Log([f"u.{p}" for p in range(PEOPLE)], offsets, item, kind, ms[order], unit[order])


def make_model(seed: int, folder: Path) -> Snapshot:
    rng = np.random.default_rng(seed)
    dense = rng.normal(0, 1, (ITEMS, ITEMS)).astype(np.float32)
    dense[np.abs(dense) < 0.5] = 0
    rows, columns = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=ITEMS))])
    day = datetime(2025, 10, 1, tzinfo=UTC)
    manifest = Manifest(
        shop_id="default",
        version=f"v{seed}",
        parent=None,
        trained_at=day,
        window_start=day,
        window_end=day,
        model=MODEL,
        training={},
        feature_names=list(NAMES),
        coefficients=BETA.tolist(),
        metrics={},
        rows={},
    )
    extras = {"daily": rng.random(ITEMS) * 50, "price": rng.random(ITEMS)}
    names = [f"I{at}" for at in range(ITEMS)]
    matrix = (indptr, columns, dense[rows, columns])
    write_snapshot(folder, manifest, names, matrix, rng.integers(1, 500, ITEMS), extras)
    return Snapshot.open(folder)


def batch_lists(seed: int, rows: int) -> Lists:
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(ITEMS)[:8] for _ in range(rows)]).astype(np.int32)
    items[::3, 5:] = -1
    scores = np.where(items >= 0, np.sort(rng.random((rows, 8)))[:, ::-1].round(6), 0).astype(np.float32)
    return Lists(items, scores)


def stage_one(snapshot: Snapshot, log: Log, cases: Sequence[Case], batch: Lists) -> Lists:
    newest = [case.actions[::-1][: MODEL.history] for case in cases]
    offsets = np.concatenate(([0], np.cumsum([len(actions) for actions in newest])))
    items = np.maximum(log.item[np.concatenate(newest)], -1).astype(np.int32)
    weights = np.concatenate(
        [action_weights([ACTION_TYPES[k] for k in log.type[a]], MODEL.event_weights, MODEL.decay) for a in newest]
    ).astype(np.float32)
    listed = (np.arange(len(cases) + 1) * 8, batch.items.ravel(), batch.scores.ravel())
    found, scores = score_rows(snapshot.matrix, (offsets, items, weights), listed, MODEL.blend, POOL)
    return Lists(found, scores)


def values_of(snapshot: Snapshot) -> ItemValues:
    return ItemValues(snapshot.popularity, snapshot.extras["daily"], snapshot.extras["price"])


def buckets(log: Log, now_ms: int) -> dict[str, dict[bytes, bytes]]:
    """What Redis holds of each item at an instant, as the stream writes it: action by action."""
    sums: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0] * len(ITEM_FEATURES)))
    for item, kind, ms in zip(log.item.tolist(), log.type.tolist(), log.ms.tolist(), strict=True):
        if item >= 0 and ms <= now_ms:
            values = sums[f"I{item}"][bucket_start(ms) // 1000]
            for at, feature in enumerate(ITEM_FEATURES):
                values[at] += ACTION_TYPES[kind] in feature.event_types
    return {
        item: {str(start).encode(): ",".join(map(repr, values)).encode() for start, values in found.items()}
        for item, found in sums.items()
    }


def live_list(snapshot: Snapshot, log: Log, case: Case, batch: Lists, row: int, now_ms: int) -> RecommendationList:
    """The stream's answer: the person's value, the batch list as published, and buckets read from Redis."""
    items = [f"I{item}" if item >= 0 else f"X{-item}" for item in log.item[case.actions].tolist()]
    kinds = [ACTION_TYPES[kind] for kind in log.type[case.actions]]
    times = log.ms[case.actions].tolist()
    rows = zip(range(len(items)), times, kinds, items, strict=True)
    actions = [Action(ms, f"e{at:06}", kind, item) for at, ms, kind, item in rows]
    ids, scores = batch.row(row, snapshot.items)
    listed = RecommendationList(
        source="batch", model_version="v", based_on=None, written_at=0, items=ids, scores=scores
    )
    stored = buckets(log, now_ms)

    def trends(wanted: Sequence[str]) -> np.ndarray:
        return np.array([trend_sums(stored.get(item, {}), now_ms) for item in wanted])

    (live,) = live_lists(snapshot, [actions], [listed], POOL, now_ms, trends)
    return live


@pytest.mark.parametrize("seed", range(6))
def test_the_stream_and_the_trainer_rank_any_situation_by_the_same_numbers(seed: int, tmp_path: Path) -> None:
    log, snapshot = make_log(seed), make_model(seed, tmp_path / "m")
    window = (START + DAY_MS, START + 2 * DAY_MS)
    cases = next_action_cases(log, window, seed=seed, most=12, history=MODEL.history)
    batch = batch_lists(seed, len(cases))
    candidates = stage_one(snapshot, log, cases, batch)
    block = request_block(log, cases, candidates, batch, values_of(snapshot), Trends(log, ITEMS), 6, "next")
    assert (np.ptp(block.features[block.present], axis=0) > 0).all()  # every feature takes part in the comparison
    ranked = ranked_lists(block, candidates, BETA.tolist(), MODEL.theta, POOL)
    for row, case in enumerate(cases):
        live = live_list(snapshot, log, case, batch, row, int(block.now_ms[row]))
        ids, scores = ranked.row(row, snapshot.items)
        assert live.items[: len(ids)] == ids
        np.testing.assert_allclose(live.scores[: len(ids)], scores, atol=1.1e-5)


def test_what_comes_after_a_request_changes_none_of_its_features(tmp_path: Path) -> None:
    log, snapshot = make_log(1), make_model(1, tmp_path / "m")
    now_ms = START + DAY_MS + 6 * HOUR
    cases = next_action_cases(log, (START + DAY_MS, now_ms), seed=1, most=20, history=6)
    batch = batch_lists(1, len(cases))
    candidates = stage_one(snapshot, log, cases, batch)
    blocks = []
    for end in (log.ms.max() + 1, max(int(log.ms[case.actions[-1]]) for case in cases) + 1):
        seen = log.until(int(end))
        to = np.cumsum(log.ms < end) - 1
        mapped = [Case(case.person, to[case.actions], case.wanted) for case in cases]
        blocks.append(
            request_block(seen, mapped, candidates, batch, values_of(snapshot), Trends(seen, ITEMS), 6, "next")
        )
    np.testing.assert_array_equal(blocks[0].features, blocks[1].features)


def test_the_wanted_half_of_a_basket_is_in_no_trend_though_it_lies_before_the_newest_given_action() -> None:
    """One basket of items 0–3 at minutes 0–3; 0 and 3 are given, and somebody else bought item 1 a minute before."""
    ms = START + np.array([0, 60_000, 120_000, 180_000, -60_000])
    bought = np.full(5, ACTION_TYPES.index("purchase"), np.int8)
    units = np.array([1, 1, 1, 1, 2])
    log = Log(["u.a", "u.b"], np.array([0, 4, 5]), np.array([0, 1, 2, 3, 1], np.int32), bought, ms, units)
    case = Case(0, np.array([0, 3]), np.array([1, 2]))
    candidates = Lists(np.array([[0, 1, 2, 3]], np.int32), np.array([[4.0, 3.0, 2.0, 1.0]], np.float32))
    none = Lists(np.full((1, 1), -1, np.int32), np.zeros((1, 1), np.float32))
    block = request_block(log, [case], candidates, none, ItemValues(np.ones(4)), Trends(log, 4), 20)
    trend = block.features[0, :, NAMES.index("trend_24h")]
    np.testing.assert_allclose(trend, np.log((np.array([5, 5, 0, 5]) + 20) / 20))
    assert block.wanted.tolist() == [[False, True, True, False]]
    assert block.features[0, :, NAMES.index("repeats")].round(3).tolist() == [0.693, 0, 0, 0.693]


def test_three_clicks_are_no_trend_and_a_hundred_are_one() -> None:
    def trend(clicks: int) -> float:
        log = Log(
            ["u.a"],
            np.array([0, clicks]),
            np.zeros(clicks, np.int32),
            np.zeros(clicks, np.int8),
            np.full(clicks, START),
            np.arange(clicks),
        )
        nothing = (np.zeros(0, np.int64),) * 4
        hour, day = Trends(log, 1).at(np.array([START + 60_000]), np.array([[0]]), nothing)[0, 0]
        return float(np.log((hour + 20) / (day / 24 + 20)))

    assert trend(3) < 0.15
    assert trend(100) > 1.5


def test_a_daily_mean_is_of_the_newest_weeks_before_the_training_only() -> None:
    days = np.array([-40, -20, -10, -1, 1])
    log = Log(
        ["u.a"],
        np.array([0, 5]),
        np.array([0, 0, 1, 0, 0], np.int32),
        np.full(5, ACTION_TYPES.index("purchase"), np.int8),
        START + days * DAY_MS,
        np.arange(5),
    )
    np.testing.assert_allclose(daily_actions(log, 2, START), [10 / 28, 5 / 28], rtol=1e-6)


def test_a_next_action_case_shows_what_came_before_and_wants_what_came() -> None:
    log = make_log(3)
    cases = next_action_cases(log, (START + DAY_MS, START + 2 * DAY_MS), seed=3, most=50, history=6)
    assert len(cases) == 50
    for case in cases:
        wanted = int(case.actions[-1]) + 1
        assert case.wanted.tolist() == [log.item[wanted]]
        assert log.unit[wanted] == log.unit[case.actions[-1]]
        assert log.ms[wanted] >= START + DAY_MS
        assert case.actions[0] >= log.offsets[case.person]
        assert len(case.actions) <= 6


def test_days_add_up_and_come_back_from_storage_bit_by_bit(tmp_path: Path) -> None:
    log, snapshot = make_log(4, 3000), make_model(4, tmp_path / "m")
    cases = next_action_cases(log, (START, START + 2 * DAY_MS), seed=4, most=300, history=6)
    batch = batch_lists(4, len(cases))
    candidates = stage_one(snapshot, log, cases, batch)
    block = request_block(log, cases, candidates, batch, values_of(snapshot), Trends(log, ITEMS), 6, "next")
    days = moments_by_day(block)
    assert len(days) >= 2
    stored = {day: decode_moments(encode_moments(moments)) for day, moments in days.items()}
    for day, moments in days.items():
        np.testing.assert_array_equal(stored[day].xx, moments.xx)
        assert (stored[day].yy, stored[day].pairs) == (moments.yy, moments.pairs)
    total = block_moments(block)
    np.testing.assert_allclose(sum_moments(stored.values()).xx, total.xx, rtol=1e-12)


def test_a_days_moments_have_another_name_for_another_model_or_recipe() -> None:
    day = date(2026, 1, 5)
    paths = {request_moments_path("default", day, recipe, version) for recipe in "ab" for version in ("v1", "v2")}
    assert len(paths) == 4


@pytest.mark.parametrize("data", [b"", b"{}", encode_moments(RequestMoments.none()).replace(b"trend_1h", b"trend_9h")])
def test_moments_of_other_features_are_refused_with_a_remedy(data: bytes) -> None:
    with pytest.raises(TrainingError, match="delete them"):
        decode_moments(data)
