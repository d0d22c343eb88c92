"""An archive's bytes depend on what is in it, and on nothing else."""

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.archive import files_below, sha256_of, write_tar, write_zip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _filled(tmp_path / "one", ["b.py", "a/c.py", "lib/x.jar"])


def _filled(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name * 100)
    return folder


def test_order_time_mode_and_bytecode_do_not_change_a_zip(folder: Path, tmp_path: Path) -> None:
    other = _filled(tmp_path / "two", ["lib/x.jar", "a/__pycache__/c.cpython-311.pyc", "a/c.py", "b.py", "old.pyc"])
    os.utime(other / "b.py", (0, 0))
    (other / "b.py").chmod(0o600)
    for at, each in enumerate((folder, other)):
        write_zip(tmp_path / f"{at}.zip", files_below(each))
    assert sha256_of(tmp_path / "0.zip") == sha256_of(tmp_path / "1.zip")
    with zipfile.ZipFile(tmp_path / "0.zip") as file:
        assert file.namelist() == ["a/c.py", "b.py", "lib/x.jar"]
        assert file.getinfo("lib/x.jar").compress_type == zipfile.ZIP_STORED


def test_a_change_of_one_byte_changes_a_zip(folder: Path, tmp_path: Path) -> None:
    write_zip(tmp_path / "0.zip", files_below(folder))
    (folder / "b.py").write_text("other")
    write_zip(tmp_path / "1.zip", files_below(folder))
    assert sha256_of(tmp_path / "0.zip") != sha256_of(tmp_path / "1.zip")


def test_a_tar_keeps_links_and_depends_on_its_content_alone(folder: Path, tmp_path: Path) -> None:
    entries = files_below(folder)
    for at, each in enumerate((entries, dict(reversed(entries.items())))):
        write_tar(tmp_path / f"{at}.tar.gz", each, {"bin/python": "/usr/bin/python3.11"})
    assert sha256_of(tmp_path / "0.tar.gz") == sha256_of(tmp_path / "1.tar.gz")
    with tarfile.open(tmp_path / "0.tar.gz") as file:
        assert file.getmember("bin/python").linkname == "/usr/bin/python3.11"
        found = file.extractfile("b.py")
        assert found is not None
        assert found.read() == b"b.py" * 100


def test_a_torn_archive_never_has_the_name_of_a_whole_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_zip(tmp_path / "x.zip", {"there": b"1", "zz": tmp_path / "not-there"})
    assert not (tmp_path / "x.zip").exists()
