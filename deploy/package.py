"""``make package``: builds what runs on AWS, and ``build/artefacts.json`` that says under which keys it goes there."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from contracts.errors import LiveshelfError
from deploy.archive import sha256_of
from deploy.artefacts import PATH, Artefact, Artefacts, versioned_key
from deploy.bake import baked_folder
from deploy.flink_zip import build_flink_zip
from deploy.functions_zip import build_functions_zip
from deploy.spark_archive import PLATFORM_PREFIX, SPARK_BOOTSTRAP, SPARK_MAIN, build_spark_archive
from local import libraries, toolchain
from local.paths import cache_dir, checkout

__all__ = ["KINDS", "build", "main"]

_DESCRIPTION: Final = """\
Build the artefacts of the deployment from their locks and from this checkout:

  flink                the zip of the managed Flink application: main.py, one fat jar, dep/
  spark-environment    Python 3.11 with the batch packages, for spark-submit --archives FILE#environment
  spark-main           the script that spark-submit is given
  spark-bootstrap      what each node of an EMR cluster on EC2 runs first
  functions            the zip of the Lambda functions

Equal inputs give equal bytes: the key of an artefact holds the beginning of its SHA-256, so what did not change is not
uploaded again. What is built lies in build/, and build/artefacts.json says what is what."""

_SUFFIXES: Final = {
    "flink": ".zip",
    "spark-environment": ".tar.gz",
    "spark-main": ".py",
    "spark-bootstrap": ".sh",
    "functions": ".zip",
}
KINDS: Final = tuple(_SUFFIXES)
"""The artefacts by the names under which they are uploaded."""


def build(
    root: Path,
    out: Path,
    *,
    prefix: str = PLATFORM_PREFIX,
    baked: Path | None = None,
    level: int = 6,
    say: Callable[[str], None] = print,
) -> Artefacts:
    """Build all artefacts of the checkout ``root`` into the folder ``out``; returns what they are.

    ``prefix`` is where the Spark platform has its Python, ``baked`` the folder of popular items that the functions
    bring along, ``level`` how hard to compress.

    Raises:
        PackagingError: one could not be built, or is too large for its service.
        LocalStackError: the jars or the pages' libraries could not be fetched.
    """
    libraries.ensure()
    makers: dict[str, Callable[[Path], None]] = {
        "flink": lambda path: build_flink_zip(
            root, toolchain.jars().packaged, cache_dir() / "fatjar", path, level=level
        ),
        "spark-environment": lambda path: build_spark_archive(root, path, prefix=prefix, level=level),
        "spark-main": lambda path: _copy(root / SPARK_MAIN, path),
        "spark-bootstrap": lambda path: _copy(root / SPARK_BOOTSTRAP, path),
        "functions": lambda path: build_functions_zip(root, path, baked=baked, level=level),
    }
    made = {}
    for kind in KINDS:
        began = time.monotonic()
        fresh = out / f"{kind}{_SUFFIXES[kind]}"
        makers[kind](fresh)
        digest = sha256_of(fresh)
        key = versioned_key(kind, _SUFFIXES[kind], digest)
        path = fresh.replace(fresh.with_name(Path(key).name))
        file = path.relative_to(root) if path.is_relative_to(root) else path
        made[kind.replace("-", "_")] = Artefact(key=key, sha256=digest, file=str(file))
        mib = path.stat().st_size / 2**20
        say(f"package: {kind:<18} {mib:>7.1f} MiB  {time.monotonic() - began:>5.1f} s  {key}")
    return Artefacts(**made)


def _copy(source: Path, path: Path) -> None:
    path.write_bytes(source.read_bytes())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.package", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python-prefix",
        default=PLATFORM_PREFIX,
        metavar="FOLDER",
        help="below which the Spark platform has bin/python3.11 (default: %(default)s, as on EMR 7)",
    )
    parser.add_argument(
        "--baked",
        type=Path,
        metavar="FOLDER",
        help="popular items that the functions bring along (python -m serving.bake --out FOLDER)",
    )
    parser.add_argument("--env", metavar="ENV", help="without --baked: those of this deployment, if fetched")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Build all; exit code 1 with the reason when something could not be built."""
    given = _parser().parse_args(argv)
    fetched = baked_folder(given.env) if given.env else None
    baked = given.baked or (fetched if fetched and fetched.is_dir() else None)
    folder = checkout() / PATH.parent
    folder.mkdir(exist_ok=True)
    try:
        made = build(checkout(), folder, prefix=given.python_prefix, baked=baked)
    except LiveshelfError as exc:
        print(f"package: {exc}", file=sys.stderr)
        return 1
    text = msgspec.json.format(msgspec.json.encode(made), indent=2)
    (checkout() / PATH).write_bytes(text + b"\n")
    _forget_old(folder, made)
    print(f"package: {PATH} says which key is which")
    return 0


def _forget_old(folder: Path, made: Artefacts) -> None:
    """Remove what earlier runs built: it is in the bucket if it was ever deployed."""
    kept = {Path(getattr(made, name).file).name for name in made.__struct_fields__}
    for path in folder.glob("liveshelf-*"):
        if path.is_file() and path.name not in kept:
            path.unlink()


if __name__ == "__main__":
    sys.exit(main())
