"""The one file of the stream's settings, for throughput, freshness, survival and deployment alike."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from contracts.errors import SettingsError

__all__ = ["BUNDLE_MS", "PATH", "StreamSettings", "stream_settings"]

PATH: Final = Path(__file__).with_name("stream-settings.json")
BUNDLE_MS: Final = 50
"""The longest that a record may wait for company on its way to Python."""
_BUNDLE_TIME: Final = "bundle.time.ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """The groups of the file; every value is text, as Flink, Valkey and ``application_properties.json`` take it.

    ``flink`` are Flink options, ``streaming`` properties of the group ``liveshelf.streaming``, ``valkey`` server
    options. Addresses, memory sizes and parallelism are the cluster's and not here. The effect of each, measured, is
    in docs/streaming.md.
    """

    flink: Mapping[str, str]
    streaming: Mapping[str, str]
    valkey: Mapping[str, str]

    def groups(self) -> dict[str, dict[str, str]]:
        """All of it, as in the file: what a RESULT's ``settings_digest`` is the digest of."""
        return {"flink": dict(self.flink), "liveshelf.streaming": dict(self.streaming), "valkey": dict(self.valkey)}


@cache
def stream_settings() -> StreamSettings:
    """Read the file that is deployed with the code.

    >>> stream_settings().flink["state.backend.type"]
    'rocksdb'

    Raises:
        SettingsError: a group is missing, or bundles may take longer than :data:`BUNDLE_MS`.
    """
    found = json.loads(PATH.read_text())
    try:
        read = StreamSettings(flink=found["flink"], streaming=found["liveshelf.streaming"], valkey=found["valkey"])
        given = read.streaming[_BUNDLE_TIME]
    except KeyError as exc:
        message = f"{PATH} has no {exc}; expected groups flink, liveshelf.streaming with {_BUNDLE_TIME}, and valkey"
        raise SettingsError(message) from exc
    if int(given) > BUNDLE_MS:
        message = f"{_BUNDLE_TIME} is {given} in {PATH}; expected at most {BUNDLE_MS} (milliseconds)"
        raise SettingsError(message)
    return read
