"""What the packaging uploads and the stacks refer to: one versioned key an artefact, never written twice.

``make package`` leaves ``build/artefacts.json``; the CDK app reads it, or takes keys that say that nothing was built.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from contracts.errors import SettingsError

__all__ = ["IMAGE_TAG", "PATH", "Artefact", "Artefacts", "read_artefacts", "versioned_key"]

IMAGE_TAG: Final = "current"
"""Of the service's image, which is built and pushed by hand; its digest is deployed (:mod:`deploy.images`)."""
PATH: Final = Path("build") / "artefacts.json"
_DIGITS: Final = 12

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Artefact(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the artefact bucket: its key, and the SHA-256 of its bytes in hexadecimal digits."""

    key: str
    sha256: Digest
    file: str = ""
    """Where it lies on the machine that built it, relative to the checkout."""


def _unbuilt(name: str, suffix: str) -> Artefact:
    return Artefact(key=f"{name}/not-built{suffix}", sha256="0" * 64)


class Artefacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """All of them. Their bucket is that of the stack ``foundation``.

    >>> Artefacts().flink.key
    'flink/not-built.zip'
    """

    flink: Artefact = _unbuilt("flink", ".zip")
    """The zip of the managed Flink application: main.py, packages, one fat jar in ``lib/``, ``dep/``."""
    spark_environment: Artefact = _unbuilt("spark-environment", ".tar.gz")
    """The venv-pack archive of Python 3.11 that holds the batch packages and what they need."""
    spark_main: Artefact = _unbuilt("spark-main", ".py")
    """The entry point of every Spark job: :mod:`batch.step`, as a file of its own."""
    spark_bootstrap: Artefact = _unbuilt("spark-bootstrap", ".sh")
    """What each node of an EMR cluster on EC2 runs first: ``deploy/emr_bootstrap.sh``."""
    functions: Artefact = _unbuilt("functions", ".zip")
    """The zip of the Lambda functions, with all that they import."""

    @property
    def built(self) -> bool:
        """Whether these are real files; keys that say ``not-built`` can be synthesised, and not deployed."""
        return all(set(getattr(self, name).sha256) != {"0"} for name in self.__struct_fields__)


def versioned_key(name: str, suffix: str, sha256: str) -> str:
    """The key of an artefact: other bytes, another key, so that a service sees new code and an old one can come back.

    >>> versioned_key("flink", ".zip", "0123456789abcdef" * 4)
    'flink/liveshelf-flink-0123456789ab.zip'
    """
    return f"{name}/liveshelf-{name}-{sha256[:_DIGITS]}{suffix}"


def read_artefacts(path: Path = PATH) -> Artefacts:
    """What was built last; where nothing was, artefacts that say so.

    Raises:
        SettingsError: the file is there and is not what the packaging writes.
    """
    if not path.is_file():
        return Artefacts()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Artefacts)
    except msgspec.MsgspecError as exc:
        message = f"{path} cannot be read: {exc}; delete it and run make package again"
        raise SettingsError(message) from exc
