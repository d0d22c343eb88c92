"""What time does to closed shards, on a clock moved by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from local import kinesis_patch
from local.kinesis_patch import LiveStream, install

START = 1_700_000_000_000
HOUR_MS = 3_600_000


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    now = [START]
    monkeypatch.setattr(kinesis_patch, "_now_ms", lambda: now[0])

    def by(milliseconds: int) -> None:
        now[0] += milliseconds

    return by


@pytest.fixture
def stream(move: Any, monkeypatch: pytest.MonkeyPatch) -> LiveStream:
    for name in ("Shard", "Stream"):
        monkeypatch.setattr(kinesis_patch.models, name, getattr(kinesis_patch.models, name))  # back when the test ends
    install()
    return LiveStream("behaviour", 1, None, 24, "123456789012", "eu-central-1")


def test_a_closed_shard_is_listed_for_as_long_as_its_records_are_kept(
    stream: LiveStream, move: Callable[[int], None]
) -> None:
    (parent,) = stream.listed()
    stream.split_shard(parent.shard_id, "1000")
    assert parent in stream.listed()
    move(24 * HOUR_MS + 1)
    assert parent not in stream.listed()
    assert len(stream.listed()) == 2


def test_a_stream_is_active_again_after_a_while(stream: LiveStream, move: Callable[[int], None]) -> None:
    (parent,) = stream.listed()
    stream.split_shard(parent.shard_id, "1000")
    assert stream.status == "UPDATING"
    move(kinesis_patch.UPDATING_MS)
    assert stream.status == "ACTIVE"


def test_a_shard_was_open_from_its_birth_until_it_was_closed(stream: LiveStream, move: Callable[[int], None]) -> None:
    (parent,) = stream.listed()
    move(10)
    stream.split_shard(parent.shard_id, "1000")
    child = stream.listed()[-1]
    assert [parent.open_at(START + at) for at in (-1, 0, 9, 10)] == [False, True, True, False]
    assert [child.open_at(START + at) for at in (9, 10, 99)] == [False, True, True]
