"""Only a checkpoint that is complete is ever started from."""

import os
from pathlib import Path

from local.flink import CHECKPOINT_MAGIC, newest_checkpoint


def checkpoint(folder: Path, name: str, age: int, metadata: bytes | None = CHECKPOINT_MAGIC + b"rest") -> Path:
    path = folder / name
    path.mkdir(parents=True)
    if metadata is not None:
        (path / "_metadata").write_bytes(metadata)
        os.utime(path / "_metadata", (1_000_000 - age, 1_000_000 - age))
    return path


def test_the_newest_is_by_time_across_job_ids_not_by_number(tmp_path):
    checkpoint(tmp_path, "aaaa/chk-90", age=60)
    newest = checkpoint(tmp_path, "bbbb/chk-2", age=5)
    assert newest_checkpoint(tmp_path) == newest


def test_one_without_or_with_torn_metadata_is_passed_over(tmp_path):
    good = checkpoint(tmp_path, "aaaa/chk-1", age=60)
    checkpoint(tmp_path, "aaaa/chk-2", age=5, metadata=None)
    checkpoint(tmp_path, "aaaa/chk-3", age=4, metadata=b"")
    checkpoint(tmp_path, "aaaa/chk-4", age=3, metadata=b"\x00\x01")
    assert newest_checkpoint(tmp_path) == good


def test_none_when_there_is_none(tmp_path):
    assert newest_checkpoint(tmp_path) is None
