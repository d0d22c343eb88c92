"""Versions as an operator reads them."""

from datetime import UTC, datetime, timedelta

import msgspec

from batch.models_text import list_text, mirror_words, show_text
from contracts.pointer import Pointer
from contracts.snapshot import Manifest, ModelSettings

AT = datetime(2026, 5, 1, 3, tzinfo=UTC)
LIVE = Pointer(version="v2", switched_at=AT, rev=f"{2:016x}")


def manifest(**fields: object) -> Manifest:
    made = Manifest(
        shop_id="default",
        version="v2",
        parent="v1",
        trained_at=AT,
        window_start=AT - timedelta(days=365),
        window_end=AT,
        model=ModelSettings(),
        training={"settings_digest": "ab12", "solve": {"l0": 3.0, "grid": list(range(40))}},
        feature_names=[],
        coefficients=[],
        metrics={"live": {"HR@20": 0.31234, "MRR@20": 0.2}, "popularity": {"HR@20": 0.1}},
        rows={"actions": 1000},
    )
    return msgspec.structs.replace(made, **fields)


def show(made: Manifest) -> str:
    return show_text(made, msgspec.to_builtins(made), "v2")


def test_metrics_come_with_their_intervals_where_the_run_drew_them() -> None:
    said = show(manifest(evaluation={"intervals": {"live": {"HR@20": [0.3, 0.325]}}, "cases": 2000}))
    assert "  live        0.3123 [0.300, 0.325]  0.2000" in said
    assert "  popularity  0.1000                 –" in said
    assert "evaluation\n  cases 2000" in said
    assert "intervals" not in said
    assert "grid = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … 28 more]" in said


def test_the_gate_speaks_in_sentences_of_any_length() -> None:
    sentence = "HR@20 is not below that of the live model. " * 5
    said = show(manifest(gate={"decision": "publish", "sentences": [sentence], "rule": {"metric": "MRR@20"}}))
    assert f"gate        publish\n  {sentence}" in said
    assert "gate\n  rule = metric MRR@20" in said


def test_the_regression_is_a_table_with_standard_errors() -> None:
    table = {"names": ["stage one", "repeats"], "coefficients": [1.5, 0.25], "standard_errors": [0.1, 0.05]}
    said = show(manifest(ranker=table | {"t": [15.0, 5.0], "theta": 0.4}))
    assert "ranker       coefficients  standard errors  t" in said
    assert "  repeats    0.25          0.05             5" in said
    assert "ranker\n  theta 0.4" in said


def test_a_long_part_is_cut_short_and_says_so() -> None:
    curve = [{"l0": n, "value": n / 7, "what": "x" * 90} for n in range(60)]
    said = show(manifest(search={"choice": "sessions", "curve": curve}))
    assert "choice = sessions" in said
    assert "… 48 more; --json shows all" in said
    assert len(said.splitlines()) < 100


def test_a_run_that_did_not_evaluate_says_so() -> None:
    assert "metrics     none: the run did not evaluate" in show(manifest(metrics={}))


def test_the_list_is_newest_first_and_marks_the_live_one() -> None:
    old = manifest(version="v1", parent=None, metrics={})
    lines = list_text({"v1": old, "v2": manifest(gate={"decision": "publish"}), "v3": None}, "v2").splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["v3", "*", "v1"]
    assert lines[1].endswith("incomplete: no manifest")
    assert lines[2].split()[-4:] == ["0.312", "–", "0.100", "publish"]
    assert lines[3].split()[-5:] == ["–"] * 5


def test_no_versions_make_a_table_of_its_head_alone() -> None:
    assert list_text({}, None).startswith("  version  trained (UTC)")


def test_a_mirror_that_is_behind_is_named_with_the_remedy() -> None:
    old = Pointer(version="v1", switched_at=AT)
    assert mirror_words(None, None, None) == "no version is live yet"
    assert mirror_words(LIVE, LIVE, LIVE).endswith("S3 and Redis are in step")
    said = mirror_words(LIVE, None, old)
    assert "NOT IN STEP: S3 says nothing, Redis says v1; run python -m batch.models activate v2" in said
