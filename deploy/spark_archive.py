"""The Python environment of the Spark jobs: an archive that Spark unpacks beside every driver and executor.

The layout is what venv-pack makes, written here so that equal inputs give equal bytes: a virtual environment whose
``bin/python`` links to the platform's own Python 3.11, with our packages among the installed ones. To be given as::

    --archives env.tar.gz#environment --conf spark.pyspark.python=./environment/bin/python

Spark itself, its Python side and py4j are the platform's and not in it.
"""

import tempfile
from pathlib import Path
from typing import Final

from deploy.archive import files_below, write_tar
from deploy.flink_zip import sources
from deploy.wheels import install

__all__ = ["PACKAGES", "PLATFORM_PREFIX", "SPARK_BOOTSTRAP", "SPARK_MAIN", "build_spark_archive"]

PACKAGES: Final = ("batch", "contracts", "stores")
SPARK_MAIN: Final = "batch/step.py"
"""The script that ``spark-submit`` is given, uploaded as a file of its own: EMR starts a script, not a module."""
SPARK_BOOTSTRAP: Final = "deploy/emr_bootstrap.sh"
"""What unpacks the archive on the nodes of a cluster, where Spark's own unpacking is not used."""
PLATFORM_PREFIX: Final = "/usr"
"""EMR 7 has Python 3.11 at ``/usr/bin/python3.11``, beside the 3.9 that it would use by default."""

_SITE: Final = "lib/python3.11/site-packages/"
_DROPPED: Final = ("bin/", "share/")
_NOTES: Final = (".dist-info/RECORD", ".dist-info/INSTALLER", ".dist-info/REQUESTED", "/tests/")


def build_spark_archive(checkout: Path, out: Path, *, prefix: str = PLATFORM_PREFIX, level: int = 6) -> None:
    """Write the archive of the packages in ``checkout`` for a platform whose Python 3.11 is below ``prefix``.

    Raises:
        PackagingError: something could not be installed.
    """
    with tempfile.TemporaryDirectory() as made:
        install("spark", Path(made))
        found = files_below(Path(made))
        kept = {_SITE + name: path for name, path in found.items() if not _needless(name)}
        entries = {**kept, **sources(checkout, PACKAGES, _SITE), "pyvenv.cfg": _config(prefix).encode()}
        links = {f"bin/{name}": f"{prefix}/bin/python3.11" for name in ("python", "python3", "python3.11")}
        write_tar(out, entries, links, level=level)


def _config(prefix: str) -> str:
    """``pyvenv.cfg``: where the standard library is.

    >>> _config("/usr").splitlines()[0]
    'home = /usr/bin'
    """
    return f"home = {prefix}/bin\ninclude-system-site-packages = false\nversion = 3.11\n"


def _needless(name: str) -> bool:
    return name.startswith(_DROPPED) or any(part in name for part in _NOTES)
