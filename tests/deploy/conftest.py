"""The artefacts, unpacked as their services unpack them, and interpreters that hold what the services' hold."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest

from contracts.settings import to_properties
from deploy.artefacts import Artefacts
from deploy.flink_zip import RUN_OPTIONS, RUN_OPTIONS_GROUP
from deploy.package import build
from deploy.wheels import locked
from local.paths import checkout
from local.stack import Stack

_SITE = Path("lib") / "python3.11" / "site-packages"


def _interpreter(folder: Path, lock: str) -> Path:
    """A Python 3.11 with exactly the packages of a lock, linked from this environment: no other, none editable."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    for name, version in locked(lock).items():
        found = distribution(name)
        assert found.version == version
        for path in found.files or ():
            if not path.parts[0].startswith("..") and path.suffix != ".pyc":
                target = folder / _SITE / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():  # the two packages of Flink share a file
                    target.symlink_to(Path(str(found.locate_file(path))))
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def interpreter() -> Callable[[Path, str], Path]:
    """``interpreter(folder, lock)``: makes one in a folder that is not there yet."""
    return _interpreter


@dataclass(frozen=True)
class Packaged:
    """What ``make package`` made."""

    made: Artefacts
    folder: Path

    def unpacked(self, kind: str, into: Path) -> Path:
        """An artefact's content."""
        file = Path(getattr(self.made, kind).file)
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                archive.extractall(into)
        else:
            into.mkdir()
            subprocess.run(["tar", "-xzf", file, "-C", into], check=True)
        return into


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """All artefacts of this checkout, for a platform whose Python is this machine's; lightly compressed."""
    folder = tmp_path_factory.mktemp("artefacts")
    return Packaged(build(checkout(), folder, prefix=sys.base_prefix, level=1, say=lambda _: None), folder)


@pytest.fixture(scope="session")
def clean() -> Callable[..., dict[str, str]]:
    """An environment for a process that is to see none of this checkout."""

    def without(**more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "LIVESHELF"))}
        return {**kept, **more}

    return without


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Empty stores, and a settings file as the managed service lays it: with the group of what it runs."""
    with Stack(lambda _: None, tmp_path_factory.mktemp("stack") / "data") as found:
        found.fetch_jars()
        found.start_stores()
        groups = to_properties(found.settings)
        groups.append({"PropertyGroupId": RUN_OPTIONS_GROUP, "PropertyMap": RUN_OPTIONS})
        found.properties.write_text(json.dumps(groups))
        yield found
