"""An own log as the demo's data: history that ends now, its newest part as live traffic; and an evaluation."""

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.errors import LocalStackError, TrainingError
from contracts.events import Event, parse, stamp, to_ms
from local import evaluate, fill
from local.clients import Posted
from local.evaluate_words import summary_lines
from local.eventlog import OwnLog, findings
from local.eventlog_days import DAY_MS
from local.journey import WEEK_MS
from local.replay import Replay
from stores.objects import Objects

NOW = datetime(2026, 3, 5, 7, 0, tzinfo=UTC)
BEGAN = datetime(2021, 6, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> OwnLog:
    """Forty days of twenty events, the newest first, sessions of four; some visitors are known, some are not."""
    rows = ["customer,visit,sku,ts,action"]
    for n in reversed(range(800)):
        at = BEGAN + timedelta(days=n // 20, minutes=n % 20)
        customer = "" if n // 4 % 5 == 0 else f"c{n // 4 % 30}"
        rows.append(f"{customer},s{n // 4},p{n * 7 % 41},{int(at.timestamp())},{('view', 'cart')[n % 2]}")
    path = tmp_path / "log.csv"
    path.write_text("\n".join(rows))
    return OwnLog(path=path, cache=tmp_path / "cache")


def history(folder: Path) -> list[Event]:
    records = [
        line for path in folder.glob("events/**/*.gz") for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    return sorted((parse(record) for record in records), key=lambda event: event.occurred_ms)


def test_history_ends_now_and_the_newest_part_waits_as_live_traffic(log: OwnLog) -> None:
    folder = log.prepare(NOW, say=lambda _: None)
    filled, lines, past = fill.summary(folder), log.lines(folder), history(folder)
    assert (len(past), len(lines), filled.records) == (760, 40, 760)
    assert to_ms(NOW) - 1.5 * WEEK_MS < past[-1].occurred_ms <= to_ms(NOW)
    assert past[-1].occurred_ms == filled.last_ms < min(line.occurred_ms for line in lines)
    assert (past[0].occurred_ms - to_ms(BEGAN)) % WEEK_MS == 0, "whole weeks, so that hours and weekdays stay"
    assert [line.occurred_ms for line in lines] == sorted(line.occurred_ms for line in lines)
    assert not {line.record.event_id for line in lines} & {event.event_id for event in past}
    assert findings(folder).live == 40
    assert set(filled.visitors) <= {event.user_id for event in past}
    assert len(filled.visitors) == 24


def test_an_evaluation_keeps_true_dates_and_every_event(log: OwnLog) -> None:
    own = OwnLog(path=log.path, cache=log.cache, live=False)
    folder = own.prepare(NOW, say=lambda _: None)
    past = history(folder)
    assert len(past) == 800
    assert past[0].occurred_at == BEGAN
    assert list(findings(folder).days)[-1] == f"{past[-1].occurred_at:%Y-%m-%d}"
    assert own.lines(folder) == []


def test_a_preparation_is_used_again_until_log_or_mapping_change(log: OwnLog) -> None:
    said: list[str] = []
    first = log.prepare(NOW, say=said.append)
    assert log.prepare(NOW + timedelta(hours=1), say=said.append) == first
    assert sum("read before" in text for text in said) == 1
    assert OwnLog(path=log.path, cache=log.cache, mapping="types.cart=view").prepare(NOW, say=said.append) != first
    log.path.write_text(log.path.read_text() + "\nc1,s900,p1,1622540000,view\n")
    assert log.prepare(NOW, say=said.append) != first


def test_only_what_belongs_into_the_bucket_is_uploaded(log: OwnLog) -> None:
    class Bucket:
        def __init__(self) -> None:
            self.keys: set[str] = set()

        def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
            self.keys.add(Key)

    bucket = Bucket()
    fill.upload(log.prepare(NOW, say=lambda _: None), Objects(bucket, "lake"), say=lambda _: None)
    assert {key.split("/")[0] for key in bucket.keys} == {"events", "shop=default"}
    assert {key for key in bucket.keys if key.startswith("shop=")} == {
        "shop=default/catalogue/items.jsonl.gz",
        "shop=default/catalogue/visitors.json",
    }


def test_live_traffic_of_an_own_log_is_sent_as_it_was_with_ids_of_its_own_for_each_lap(log: OwnLog) -> None:
    class Shop:
        def __init__(self) -> None:
            self.events: list[Event] = []

        def post_events(self, events: Sequence[bytes]) -> Posted:
            self.events += [stamp(parse(data, require_received=False), NOW) for data in events]
            return Posted(len(events))

        def put(self, records: Sequence[tuple[bytes, str]]) -> list[str | None]:
            return [None] * len(records)

    lines, shop = log.lines(log.prepare(NOW, say=lambda _: None)), Shop()
    Replay(lines, shop, shop, rate=1e6, run="r1", laps=2, clock=lambda: NOW, sleep=lambda _: None).run()
    assert len({event.event_id for event in shop.events}) == 80
    told = [(event.event_type, event.subject, event.item_id, event.session_id) for event in shop.events]
    kept = [(line.record.event_type, line.subject, line.record.item_id, line.session) for line in lines]
    assert told[:40] == kept
    assert told[40:] == [(kind, subject, item, f"{session}-1") for kind, subject, item, session in kept]
    assert any(subject.startswith("a.") for _, subject, _, _ in kept)


def test_a_log_of_one_event_has_a_history_and_no_live_traffic(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\nu,1,2026-01-01\n")
    own = OwnLog(path=path, cache=tmp_path / "cache")
    folder = own.prepare(NOW, say=lambda _: None)
    assert len(history(folder)) == 1
    assert own.lines(folder) == []


def test_many_days_in_any_order_are_held_on_disk_and_come_back_whole(
    log: OwnLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = log.prepare(NOW, say=lambda _: None)
    monkeypatch.setattr("local.eventlog_days._HELD_ROWS", 50)
    monkeypatch.setattr("local.eventlog_read.CHUNK_ROWS", 30)
    pieces = OwnLog(path=log.path, cache=tmp_path / "pieces").prepare(NOW, say=lambda _: None)
    assert history(pieces) == history(whole)
    assert findings(pieces).days == findings(whole).days
    assert sum(findings(whole).days.values()) == 800
    assert DAY_MS * len(findings(whole).days) == 40 * DAY_MS


TRAINER = """
import sys
print("train: plan  0.1 s  3 days")
print("train: cannot train: the window is too short" if {code} == 2 else "train: gate: not better than before")
{trained}
print(sys.argv[1:])
sys.exit({code})
"""


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, trained: str = "") -> evaluate.Trained:
    """The outcome of a stand-in for the trainer that ends with ``code``."""
    (folder / "batch").mkdir()
    (folder / "batch" / "train.py").write_text(TRAINER.format(code=code, trained=trained))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.chdir(folder)
    return evaluate.run_trainer(["--no-publish"], {}, folder / "trainer.log", lambda _: None, limit_s=60)


METRICS = {
    "live": {"HR@20": 0.6, "MRR@20": 0.3},
    "batch": {"HR@20": 0.5, "MRR@20": 0.2},
    "popularity": {"HR@20": 0.2, "MRR@20": 0.1},
}


def test_the_trainers_figures_are_read_from_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"""print('TRAINED {{"metrics": {str(METRICS).replace("'", '"')}}}')"""
    trained = run(tmp_path, monkeypatch, 0, line)
    assert trained == {"metrics": METRICS}
    assert trained.refused == ()
    assert "--no-publish" in (tmp_path / "trainer.log").read_text()


def test_a_refusing_gate_is_no_failure_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = run(tmp_path, monkeypatch, 3)
    assert trained == {}
    assert trained.refused[-1] == "gate: not better than before"


@pytest.mark.parametrize(("code", "error"), [(2, TrainingError), (5, LocalStackError), (0, LocalStackError)])
def test_a_failed_training_is_told_in_the_trainers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="the window is too short" if code == 2 else f"ended with code {code}"):
        run(tmp_path, monkeypatch, code)


def test_the_words_say_what_the_figures_mean(log: OwnLog) -> None:
    found = findings(log.prepare(NOW, say=lambda _: None))
    text = "\n".join(summary_lines(found, {"metrics": METRICS}, (), 7))
    assert "held one of the other half 60 times, last night's list 50 times, the best sellers 20 times" in text
    assert "3.0 times as often as the best sellers" in text
    assert "With 800 events these figures are rough" in text
    assert "hardly more" in "\n".join(
        summary_lines(found, {"metrics": METRICS | {"live": METRICS["popularity"]}}, (), 7)
    )
    assert "no figures" in "\n".join(summary_lines(found, {"metrics": {}}, (), 7))
    assert "would not let this model go live" in "\n".join(summary_lines(found, {}, ("gate: worse",), 7))


def test_intervals_the_task_and_odd_data_are_told_where_the_trainer_tells_them(log: OwnLog) -> None:
    found = findings(log.prepare(NOW, say=lambda _: None))
    checks = [
        {"check": "volume", "level": "ok"},
        {"check": "stale", "level": "warn", "sentence": "the newest action is old"},
        {"check": "volume", "level": "refuse", "sentence": "only half of the usual events on 2021-07-09"},
    ]
    trained = {
        "metrics": METRICS,
        "evaluation": {"task": "next", "cases": 1234, "intervals": {"live": {"HR@20": [0.55, 0.65]}}},
        "checks": {"checks": checks},
    }
    text = "\n".join(summary_lines(found, trained, (), 1))
    assert "the newest day (1,234 visits were looked at)" in text
    assert "held what came next 60 times (55 to 65), last night's list 50 times, the best sellers 20 times" in text
    assert "only half of the usual events on 2021-07-09" in text
    assert "the newest action is old" not in text
