"""The Lambda function's spool: an SQS queue, as its disk does not outlive it; :func:`drained` empties it."""

import logging
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import StoreError
from contracts.settings import Settings
from serving.frames import Record, pack, unpack
from stores.aws import client
from stores.streams import Stream

__all__ = ["QueueSpool", "drained", "messages", "records_of"]

_log = logging.getLogger(__name__)

_MESSAGE_BYTES: Final = 150_000
"""Of records in a message; with base64 and frames it stays below SQS' 256 KiB, whatever one record's 32 KiB add."""


class QueueSpool:
    """Keeps records by sending them to the queue; SQS holds a message on several devices before it answers."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs, self._url = sqs, url

    @classmethod
    def from_settings(cls, settings: Settings) -> "QueueSpool | None":
        """The queue of the settings, if they name one."""
        url = settings.serving.spool_queue
        return cls(client("sqs", settings, read_timeout_s=2.0, attempts=2), url) if url else None

    def append(self, records: Sequence[Record]) -> None:
        """Send all records.

        Raises:
            StoreError: SQS did not take all of them; none is promised.
        """
        try:
            for body in messages(records):
                self._sqs.send_message(QueueUrl=self._url, MessageBody=body)
        except (ClientError, BotoCoreError) as exc:
            message = f"the queue {self._url} did not take {len(records)} events: {exc}"
            raise StoreError(message) from exc


def messages(records: Sequence[Record], limit: int = _MESSAGE_BYTES) -> Iterator[str]:
    """Message bodies that hold ``records``, in ASCII: SQS refuses some characters that JSON allows.

    >>> [len(records_of(body)) for body in messages([(b"x" * 60, "k")] * 5, limit=150)]
    [2, 2, 1]
    """
    first, size = 0, 0
    for at, (data, key) in enumerate(records):
        size += len(data) + len(key.encode())
        if size > limit and at > first:
            yield b64encode(pack(records[first:at])).decode()
            first, size = at, len(data) + len(key.encode())
    if first < len(records):
        yield b64encode(pack(records[first:])).decode()


def records_of(body: str) -> list[Record]:
    """What a message holds.

    Raises:
        ValueError: it is not whole.
    """
    stored = b64decode(body, validate=True)
    frames = unpack(stored)
    if not frames or frames[-1].end != len(stored):
        message = f"a message of {len(stored)} bytes is not whole; {len(frames)} records of it can be read"
        raise ValueError(message)
    return [frame.record for frame in frames]


def drained(event: Mapping[str, Any], stream: Stream) -> dict[str, Any]:
    """Put the records of all messages of an invocation; name those of which anything is left, so that SQS keeps them.

    Of a message that is tried again all records are put again: events count once per ``event_id``. How often, and where
    it goes then, is the queue's redrive policy.
    """
    failed = []
    for message in event["Records"]:
        outcomes: list[str | None]
        try:
            outcomes = stream.put(records_of(message["body"]))
        except ValueError as exc:
            _log.error("message %s: %s", message["messageId"], exc)
            outcomes = ["Damaged"]
        if left := [outcome for outcome in outcomes if outcome is not None]:
            _log.warning("message %s: %d events are not on the stream: %s", message["messageId"], len(left), left[0])
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}
