"""Live lists against a snapshot whose best next items are known, and against the formula written out plainly."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from contracts.lists import Action, RecommendationList
from contracts.snapshot import Manifest, ModelSettings, Snapshot, write_snapshot
from streaming.shelf_scoring import live_lists

ITEMS = [f"I{i}" for i in range(40)]


@pytest.fixture(scope="module")
def dense() -> np.ndarray:
    matrix = np.random.default_rng(7).normal(0, 1, (40, 40)).astype(np.float32)
    matrix[np.abs(matrix) < 0.8] = 0
    return matrix


@pytest.fixture(scope="module")
def snapshot(
    dense: np.ndarray, tmp_path_factory: pytest.TempPathFactory, make_manifest: Callable[..., Manifest]
) -> Snapshot:
    rows, columns = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=40))])
    weights = {"view": 1.0, "purchase": 3.0}
    model = ModelSettings(history=3, decay=2.0, blend=0.5, event_weights=weights)
    manifest = make_manifest(model=model)
    folder = tmp_path_factory.mktemp("snapshot") / "v1"
    write_snapshot(folder, manifest, ITEMS, (indptr, columns, dense[rows, columns]), np.arange(40, 0, -1))
    return Snapshot.open(folder)


def history(*actions: tuple[str, str]) -> list[Action]:
    return [Action(i, f"e{i}", kind, item) for i, (kind, item) in enumerate(actions)]


def batch(items: list[str], scores: list[float]) -> RecommendationList:
    return RecommendationList(
        source="batch", model_version="v1", based_on=None, written_at=0, items=items, scores=scores
    )


def plain(dense: np.ndarray, actions: list[Action], extra: dict[str, float]) -> list[str]:
    """The formula, one person and one candidate at a time."""
    live = np.zeros(40)
    for d, action in enumerate(reversed(actions[-3:])):
        weight = {"view": 1.0, "purchase": 3.0}.get(action.event_type, 0.0)
        live += np.exp(-d / 2.0) * weight * dense[ITEMS.index(action.item_id)]
    score = live / np.abs(live).max()
    for item, value in extra.items():
        score[ITEMS.index(item)] += 0.5 * value / max(extra.values())
    return [ITEMS[i] for i in np.argsort(-score, kind="stable") if score[i] > 0]


def test_lists_equal_the_formula_written_out(snapshot: Snapshot, dense: np.ndarray) -> None:
    people = [
        history(("view", "I3")),
        history(("view", "I1"), ("purchase", "I5"), ("view", "I9"), ("view", "I2")),
        history(("purchase", "I30"), ("impression", "I4"), ("view", "I31")),
    ]
    extras: list[dict[str, float]] = [{}, {"I7": 4.0, "I8": 1.0}, {"I0": 2.0}]
    lists = live_lists(
        snapshot, people, [batch(list(e), list(e.values())) if e else None for e in extras], size=12, now_ms=5
    )
    for live, actions, extra in zip(lists, people, extras, strict=True):
        expected = plain(dense, actions, extra)[:12]
        assert live.items[: len(expected)] == expected
        assert live.scores == sorted(live.scores, reverse=True)
        assert live.based_on is not None
        assert live.based_on.event_id == actions[-1].event_id


def test_reasons_are_the_largest_terms_of_a_score_summed_by_item(snapshot: Snapshot, dense: np.ndarray) -> None:
    """I3 was looked at and then bought; the batch list speaks for I7; what speaks against an item is no reason."""
    actions = history(("view", "I3"), ("view", "I4"), ("purchase", "I3"))
    (live,) = live_lists(snapshot, [actions], [batch(["I7"], [2.0])], size=12, now_ms=0)
    decay = np.exp(-np.arange(3) / 2.0)
    rows = {"I3": (3 * decay[0] + decay[2]) * dense[3], "I4": decay[1] * dense[4]}
    top = sum(rows.values()).max()
    for item, reasons in zip(live.items, live.reasons, strict=True):
        terms = {name: float(row[ITEMS.index(item)] / top) for name, row in rows.items()}
        terms["*"] = 0.5 if item == "I7" else 0.0
        for_it = {name: value for name, value in terms.items() if value > 0}
        assert [reason.item_id for reason in reasons] == sorted(for_it, key=lambda name: -for_it[name])
        shares = [for_it[reason.item_id] / sum(for_it.values()) for reason in reasons]
        np.testing.assert_allclose([reason.weight for reason in reasons], shares, atol=6e-4)


def test_a_list_is_filled_up_with_popular_items_that_the_person_did_not_just_take(snapshot: Snapshot) -> None:
    (live,) = live_lists(snapshot, [history(("view", "I0"))], [None], size=40, now_ms=0)
    scored = [item for item, score in zip(live.items, live.scores, strict=True) if score > 0]
    filling = live.items[len(scored) :]
    assert live.source == "live"
    assert filling == [item for item in ITEMS[1:] if item not in scored]
    assert live.reasons[len(scored) :] == [[]] * len(filling)


def test_an_item_unknown_to_the_model_falls_back_to_popular(snapshot: Snapshot) -> None:
    (live,) = live_lists(snapshot, [history(("view", "unheard-of"))], [None], size=4, now_ms=0)
    assert (live.source, live.items, live.reasons) == ("popular", ["I0", "I1", "I2", "I3"], [[], [], [], []])


def test_people_in_one_batch_do_not_influence_each_other(snapshot: Snapshot) -> None:
    people = [history(("view", f"I{i}"), ("purchase", f"I{(i * 7) % 40}")) for i in range(40)]
    together = live_lists(snapshot, people, [None] * 40, size=10, now_ms=0)
    alone = [live_lists(snapshot, [person], [None], size=10, now_ms=0)[0] for person in people]
    assert together == alone


def test_nothing_is_left_to_compile_after_the_warm_up(snapshot: Snapshot) -> None:
    """In a process of its own, in which no other test has compiled: each kernel knows one set of types, and no more."""
    code = f"""
import numba
from pathlib import Path
from contracts import ranker, scoring
from contracts.lists import Action, RecommendationList
from contracts.snapshot import Snapshot
from streaming import shelf_filling, shelf_scoring

def compiled():
    parts = [value for module in (scoring, ranker, shelf_filling) for value in vars(module).values()]
    return {{part.__name__: len(part.signatures) for part in parts if hasattr(part, "signatures")}}

shelf_scoring.warm_up()
before = compiled()
batch = RecommendationList(
    source="batch", model_version="v1", based_on=None, written_at=0, items=["I1"], scores=[1.0]
)
history = [Action(0, "a", "view", "I2"), Action(1, "b", "purchase", "I3")]
shelf_scoring.live_lists(Snapshot.open(Path({str(snapshot.folder)!r})), [history, []], [batch, None], 12, 0)
assert before["_kernel"] == before["_fill"] == before["_match"] == 1, before
assert compiled() == before, (before, compiled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_trends_are_asked_of_each_candidate_once_everybodys_best_first(
    dense: np.ndarray, tmp_path: Path, make_manifest: Callable[..., Manifest]
) -> None:
    rows, columns = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=40))])
    models = []
    for theta in (0.0, 1.0):
        manifest = make_manifest(
            version=f"theta-{theta}", model=ModelSettings(theta=theta), feature_names=["trend_1h"], coefficients=[9.0]
        )
        folder = tmp_path / manifest.version
        write_snapshot(folder, manifest, ITEMS, (indptr, columns, dense[rows, columns]), np.ones(40))
        models.append(Snapshot.open(folder))
    people = [history(("view", "I3")), history(("view", "I4")), []]
    plain = live_lists(models[0], people, [None] * 3, 40, 0)
    hot = plain[1].items[5]
    asked: list[list[str]] = []

    def trends(items: Sequence[str]) -> np.ndarray:
        asked.append(list(items))
        return np.array([[1000.0 if item == hot else 0.0] * 2 for item in items])

    ranked = live_lists(models[1], people, [None] * 3, 40, 0, trends)
    scored = [[i for i, s in zip(live.items, live.scores, strict=True) if s > 0] for live in plain]
    by_rank = [items[n] for n in range(40) for items in scored if n < len(items)]
    assert asked == [list(dict.fromkeys(by_rank))]
    assert ranked[1].items[0] == hot
    assert ranked[1].reasons[0] == plain[1].reasons[5]  # reasons go with their item
    assert sorted(ranked[1].items) == sorted(plain[1].items)
