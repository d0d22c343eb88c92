"""The zip of the managed Flink application, laid out as AWS's own example for packaged Python dependencies has it.

::

    main.py          starts the job; the service runs it with `flink run -py`
    lib/             the one jar that a PyFlink application may bring
    dep/             what goes to every Python worker: our packages, and what the runtime lacks

One folder is given as ``pyFiles``: what is not in it does not reach the workers, so our packages lie there too.
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from contracts.errors import PackagingError
from deploy.archive import files_below, write_zip
from deploy.fatjar import fat_jar
from deploy.wheels import install, locked

__all__ = ["FORBIDDEN", "MAX_BYTES", "PACKAGES", "RUN_OPTIONS", "RUN_OPTIONS_GROUP", "build_flink_zip", "sources"]

PACKAGES: Final = ("contracts", "stores", "streaming")
RUN_OPTIONS_GROUP: Final = "kinesis.analytics.flink.run.options"
"""The property group in which the service looks for what to run; it is the service's name."""
RUN_OPTIONS: Final = {"python": "main.py", "jarfile": "lib/liveshelf-flink.jar", "pyFiles": "dep/"}
MAX_BYTES: Final = 512_000_000
"""AWS: "supports JAR files that are up to 512 MB"; an application with a larger one does not start."""
FORBIDDEN: Final = frozenset({"numpy", "pandas", "pyarrow", "apache-flink", "apache-flink-libraries", "py4j"})
"""Must never be in ``dep/``: a second copy of these breaks the runtime's own."""

_MAIN: Final = b'''"""Starts Liveshelf's streaming job, see streaming/main.py in dep/."""

from streaming.main import main

main()
'''
_NEEDLESS: Final = ("/tests/", ".dist-info/RECORD", ".dist-info/INSTALLER", ".dist-info/REQUESTED", "bin/")


def build_flink_zip(checkout: Path, jars: Sequence[Path], cache: Path, out: Path, *, level: int = 6) -> None:
    """Write the zip of the packages in ``checkout``; ``cache`` is where merged jars are kept.

    Raises:
        PackagingError: it is larger than the service takes, or something could not be installed.
    """
    with tempfile.TemporaryDirectory() as made:
        install("flink", Path(made), leave_out=locked("flink-runtime"))
        found = {name: path for name, path in files_below(Path(made), "dep/").items() if not _needless(name)}
        entries = {
            **found,
            **sources(checkout, PACKAGES, "dep/"),
            RUN_OPTIONS["python"]: _MAIN,
            RUN_OPTIONS["jarfile"]: fat_jar(jars, cache),
        }
        write_zip(out, entries, level=level)
    if out.stat().st_size > MAX_BYTES:
        message = (
            f"{out} has {out.stat().st_size:,} bytes; the service takes {MAX_BYTES:,}: leave something out of dep/"
        )
        raise PackagingError(message)


def sources(checkout: Path, packages: Iterable[str], prefix: str = "") -> dict[str, Path | bytes]:
    """Our packages as entries of an archive."""
    return {k: v for name in packages for k, v in files_below(checkout / name, f"{prefix}{name}/").items()}


def _needless(name: str) -> bool:
    """Whether nothing would miss it: other packages' tests, their commands, and the installer's own notes."""
    inside = name.removeprefix("dep/")
    return inside.startswith("bin/") or any(part in inside for part in _NEEDLESS)
