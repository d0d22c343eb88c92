"""What the spool took is there afterwards, once, whatever is torn, full or locked."""

import errno
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import SettingsError
from serving.frames import Record, pack, unpack
from serving.spool import Spool, SpoolFull

ROOM = 1 << 20


def records(*names: str) -> list[Record]:
    return [(f'{{"event_id":"{name}"}}'.encode(), f"default#u.{name}") for name in names]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool.claim(tmp_path, ROOM)
    yield made
    made.close()


def drain(spool: Spool, most: int = 500) -> list[Record]:
    found = []
    while (segment := spool.oldest()) is not None:
        for batch, end in segment.batches(most):
            found += batch
            segment.advance(end, len(batch))
        spool.remove(segment)
    return found


def test_what_was_taken_comes_out_once_and_in_order(spool: Spool) -> None:
    spool.append(records("a", "b"))
    spool.append(records("c"))
    assert (spool.records, drain(spool, most=2)) == (3, records("a", "b", "c"))
    assert (spool.records, spool.bytes, drain(spool)) == (0, 0, [])
    spool.append(records("d"))
    assert drain(spool) == records("d"), "a new file is not taken for the drained one of the same name"


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_write_that_a_crash_cut_off_costs_only_itself(tmp_path: Path, cut: int) -> None:
    whole, last = pack(records("a", "b")), pack(records("c"))
    (tmp_path / "000").mkdir()
    (tmp_path / "000" / "0000000000.spool").write_bytes(whole + last[: min(cut, len(last) - 1)])
    spool = Spool.claim(tmp_path, ROOM)
    assert spool.records == 2
    assert drain(spool) == records("a", "b")
    spool.close()


def test_no_damage_makes_a_record_that_was_never_written() -> None:
    draw = random.Random(5)
    written = records(*"abcdefgh")
    stored = pack(written)
    for _ in range(500):
        raw = bytearray(stored)
        for _ in range(draw.randint(1, 3)):
            raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        assert [frame.record for frame in unpack(bytes(raw))] == written[: len(unpack(bytes(raw)))]


def test_what_is_damaged_is_kept_for_the_operator_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "000").mkdir()
    stored = bytearray(pack(records("a", "b", "c")))
    stored[len(stored) // 2] ^= 1
    (tmp_path / "000" / "0000000000.spool").write_bytes(stored)
    spool = Spool.claim(tmp_path, ROOM)
    assert drain(spool) == records("a")
    assert stored.endswith((tmp_path / "000" / "0000000000.damaged").read_bytes())
    assert "are no whole record" in caplog.text
    spool.close()


def test_after_a_restart_only_what_is_left_is_sent(tmp_path: Path) -> None:
    spool = Spool.claim(tmp_path, ROOM)
    spool.append(records("a", "b", "c"))
    segment = spool.oldest()
    assert segment is not None
    batch, end = next(segment.batches(2))
    segment.advance(end, len(batch))
    spool.close()
    again = Spool.claim(tmp_path, ROOM)
    assert (again.records, drain(again)) == (1, records("c"))
    again.close()


def test_a_note_of_what_was_sent_that_a_crash_cut_off_sends_all_again(tmp_path: Path) -> None:
    spool = Spool.claim(tmp_path, ROOM)
    spool.append(records("a"))
    spool.close()
    (tmp_path / "000" / "0000000000.drained").write_bytes(b"\x0d")
    again = Spool.claim(tmp_path, ROOM)
    assert drain(again) == records("a")
    again.close()


def test_a_full_spool_keeps_nothing_of_the_call_and_takes_again_once_there_is_room(tmp_path: Path) -> None:
    size = len(pack(records("a")))
    spool = Spool.claim(tmp_path, 2 * size)
    spool.append(records("a"))
    with pytest.raises(SpoolFull):
        spool.append(records("b", "c"))
    spool.append(records("d"))
    assert drain(spool) == records("a", "d")
    spool.append(records("e", "f"))
    assert drain(spool) == records("e", "f")
    spool.close()


def test_a_disk_that_fills_up_in_the_middle_of_a_write_loses_nothing_that_was_promised(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append(records("a"))
    write, room = os.write, iter([7])

    def scarce(file: int, data: Any) -> int:
        if (left := next(room, 0)) == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:left])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", scarce)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(records("b"))
    spool.append(records("c"))
    assert drain(spool) == records("a", "c")


def test_nothing_is_promised_that_the_device_did_not_flush(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(OSError, match="Input/output"):
            spool.append(records("a"))
    spool.append(records("b"))
    assert records("b")[0] in drain(spool)


def test_many_threads_lose_and_double_nothing_while_the_spool_is_drained(tmp_path: Path) -> None:
    spool = Spool.claim(tmp_path, ROOM, segment_bytes=2000)
    names = [f"{thread}-{number}" for thread in range(8) for number in range(50)]
    found: list[Record] = []
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(spool.append, records(name)) for name in names]
        while not all(future.done() for future in waiting):
            found += drain(spool)
        for future in waiting:
            future.result()
    found += drain(spool)
    assert sorted(found) == sorted(records(*names))
    spool.close()


def test_two_processes_have_folders_of_their_own_and_the_dead_one_is_inherited(tmp_path: Path) -> None:
    first, second = Spool.claim(tmp_path, ROOM), Spool.claim(tmp_path, ROOM)
    assert first.folder != second.folder
    second.append(records("a"))
    assert list(first.orphans()) == [], "its process lives"
    second.close()
    assert [drain(orphan) for orphan in first.orphans()] == [records("a")]
    assert list(first.orphans()) == []
    first.close()


def test_a_folder_that_cannot_be_made_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"spool\.folder"):
        Spool.claim(tmp_path / "file", ROOM)
