"""The zip of the Lambda functions: our packages and what they need, side by side at the root."""

import tempfile
from pathlib import Path
from typing import Final

from contracts.errors import PackagingError
from deploy.archive import files_below, write_zip
from deploy.flink_zip import sources
from deploy.wheels import install

__all__ = ["MAX_UNPACKED", "PACKAGES", "build_functions_zip"]

PACKAGES: Final = ("contracts", "stores", "serving")
MAX_UNPACKED: Final = 262_144_000
"""Lambda takes 250 MiB of a function and its layers, unpacked."""

_DROPPED: Final = ("bin/",)
_NOTES: Final = (".dist-info/RECORD", ".dist-info/INSTALLER", ".dist-info/REQUESTED", "/tests/")


def build_functions_zip(checkout: Path, out: Path, *, level: int = 6) -> None:
    """Write the zip of the packages in ``checkout``.

    Raises:
        PackagingError: it is larger than Lambda takes, or something could not be installed.
    """
    with tempfile.TemporaryDirectory() as made:
        install("functions", Path(made))
        found = {
            name: path
            for name, path in files_below(Path(made)).items()
            if not name.startswith(_DROPPED) and not any(part in name for part in _NOTES)
        }
        entries = {**found, **sources(checkout, PACKAGES)}
        size = sum(len(each) if isinstance(each, bytes) else each.stat().st_size for each in entries.values())
        if size > MAX_UNPACKED:
            message = f"{out.name} has {size:,} bytes unpacked; Lambda takes {MAX_UNPACKED:,}: leave something out"
            raise PackagingError(message)
        write_zip(out, entries, level=level)
