"""The zip of the Lambda functions: our packages and what they need, side by side at the root."""

import tempfile
from pathlib import Path
from typing import Final

from contracts.baked import baked_name, decode_baked
from contracts.errors import ContractError, PackagingError
from deploy.archive import Entries, files_below, write_zip
from deploy.flink_zip import sources
from deploy.wheels import install

__all__ = ["MAX_UNPACKED", "PACKAGES", "baked_entries", "build_functions_zip"]

PACKAGES: Final = ("contracts", "stores", "serving")
MAX_UNPACKED: Final = 262_144_000
"""Lambda takes 250 MiB of a function and its layers, unpacked."""

_LIBRARY: Final = "serving/static/lib/lit-html/lit-html.js"
"""One of the files without which pages stay empty; they come and go together (:mod:`local.libraries`)."""
_DROPPED: Final = ("bin/",)
_NOTES: Final = (".dist-info/RECORD", ".dist-info/INSTALLER", ".dist-info/REQUESTED", "/tests/")


def build_functions_zip(checkout: Path, out: Path, *, baked: Path | None = None, level: int = 6) -> None:
    """Write the zip of the packages in ``checkout``, with the popular items in the folder ``baked``.

    Raises:
        PackagingError: it is larger than Lambda takes, something could not be installed, the pages' libraries are not
            there, or ``baked`` holds none of its files, or one that cannot be read.
    """
    with tempfile.TemporaryDirectory() as made:
        install("functions", Path(made))
        found = {
            name: path
            for name, path in files_below(Path(made)).items()
            if not name.startswith(_DROPPED) and not any(part in name for part in _NOTES)
        }
        entries = {**found, **sources(checkout, PACKAGES), **({} if baked is None else baked_entries(baked))}
        if _LIBRARY not in entries:
            message = f"{_LIBRARY} is not in the checkout; python -m local.libraries brings the pages' libraries"
            raise PackagingError(message)
        size = sum(len(each) if isinstance(each, bytes) else each.stat().st_size for each in entries.values())
        if size > MAX_UNPACKED:
            message = f"{out.name} has {size:,} bytes unpacked; Lambda takes {MAX_UNPACKED:,}: leave something out"
            raise PackagingError(message)
        write_zip(out, entries, level=level)


def baked_entries(folder: Path) -> Entries:
    """The files of ``python -m serving.bake`` under the names at which serving looks for them.

    Raises:
        PackagingError: there are none, or one cannot be read.
    """
    found = sorted(folder.glob(baked_name("*")))
    if not found:
        message = f"{folder} holds no {baked_name('*')}; expected the folder of python -m serving.bake --out FOLDER"
        raise PackagingError(message)
    for file in found:
        try:
            decode_baked(file.read_bytes())
        except ContractError as exc:
            message = f"{file}: {exc}"
            raise PackagingError(message) from exc
    return {f"serving/baked/{file.name}": file for file in found}
