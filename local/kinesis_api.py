"""The record calls of the Kinesis API (put, get, iterators, shard lists), without moto's request machinery.

These carry all the traffic: a record is decoded once, its base64 text is stored as it came and sent as it is.
Anything else a client asks of Kinesis goes on to moto.
"""

import base64
import binascii
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from local.kinesis_patch import LiveShard, LiveStream
from local.kinesis_shard import MAX_READ_RECORDS, ForeignSequenceNumber

__all__ = ["ApiError", "KinesisApi"]

#: An iterator not used for this long is refused, as on AWS; consumers must be able to renew it.
ITERATOR_LIFE_MS: Final = 300_000
MAX_PUT_RECORDS: Final = 500
MAX_RECORD_BYTES: Final = 1 << 20
MAX_PUT_BYTES: Final = 5 << 20

# Error types, spelled as the SDKs know them.
EXPIRED: Final = "ExpiredIteratorException"
INVALID: Final = "InvalidArgumentException"
MALFORMED: Final = "SerializationException"
NOT_FOUND: Final = "ResourceNotFoundException"
REFUSED: Final = "ValidationException"
THROTTLED: Final = "ProvisionedThroughputExceededException"


class ApiError(Exception):
    """An error answer of the service: its type as the SDKs know it, and its sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message

    def body(self) -> bytes:
        """The JSON that SDKs turn back into a typed error."""
        return msgspec.json.encode({"__type": self.kind, "message": self.message})


class _Request(msgspec.Struct, rename="pascal"):
    stream_name: str | None = None
    stream_arn: str | None = msgspec.field(default=None, name="StreamARN")


class _Record(msgspec.Struct, rename="pascal"):
    data: str
    partition_key: str
    explicit_hash_key: str | None = None


class _PutRecord(_Request, kw_only=True):
    data: str
    partition_key: str
    explicit_hash_key: str | None = None


class _PutRecords(_Request, kw_only=True):
    records: list[_Record]


class _GetShardIterator(_Request, kw_only=True):
    shard_id: str
    shard_iterator_type: str
    starting_sequence_number: str | None = None
    timestamp: float | None = None


class _GetRecords(_Request, kw_only=True):
    shard_iterator: str
    limit: int = MAX_READ_RECORDS


class _ShardFilter(msgspec.Struct, rename="pascal"):
    type: str
    shard_id: str | None = None
    timestamp: float | None = None


class _ListShards(_Request, kw_only=True):
    exclusive_start_shard_id: str | None = None
    max_results: int = 1000
    next_token: str | None = None
    shard_filter: _ShardFilter | None = None


class _Iterator(msgspec.Struct, array_like=True):
    """What an iterator says of itself; clients see one opaque string. ``birth`` ties it to this life of the shard."""

    stream: str
    shard: str
    birth: str
    position: int
    issued_at: int

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class KinesisApi:
    """Answers the record calls for the streams that ``find`` knows.

    ``find(region, name)`` returns the stream or None. Raises :class:`ApiError` for what AWS would refuse.
    """

    def __init__(self, find: Callable[[str, str], LiveStream | None], clock: Callable[[], int] = _now_ms) -> None:
        self._find = find
        self._clock = clock
        self._calls: dict[str, tuple[type[_Request], Callable[[LiveStream, Any], dict[str, Any]]]] = {
            "PutRecord": (_PutRecord, self._put_record),
            "PutRecords": (_PutRecords, self._put_records),
            "GetShardIterator": (_GetShardIterator, self._get_shard_iterator),
            "GetRecords": (_GetRecords, self._get_records),
            "ListShards": (_ListShards, self._list_shards),
        }

    def serves(self, action: str) -> bool:
        """Whether this class answers ``action``, or moto does."""
        return action in self._calls

    def call(self, action: str, region: str, body: bytes) -> bytes:
        """The JSON answer to one call."""
        schema, answer = self._calls[action]
        try:
            request = msgspec.json.decode(body, type=schema)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ApiError(MALFORMED, str(exc)) from exc
        return msgspec.json.encode(answer(self._stream(region, action, request), request))

    def _stream(self, region: str, action: str, request: _Request) -> LiveStream:
        name = request.stream_name or (request.stream_arn or "").rpartition("/")[2]
        if isinstance(request, _GetRecords):
            name = _iterator(request.shard_iterator).stream
        elif isinstance(request, _ListShards) and request.next_token:
            name = _token(request.next_token)[0]
        stream = self._find(region, name)
        if stream is None:
            raise ApiError(NOT_FOUND, f"Stream {name!r} for {action} in {region} not found.")
        return stream

    def _put_record(self, stream: LiveStream, request: _PutRecord) -> dict[str, Any]:
        record = _Record(request.data, request.partition_key, request.explicit_hash_key)
        put = self._put_records(stream, _PutRecords(records=[record]))["Records"][0]
        if "ErrorCode" in put:
            raise ApiError(put["ErrorCode"], put["ErrorMessage"])
        return dict(put)

    def _put_records(self, stream: LiveStream, request: _PutRecords) -> dict[str, Any]:
        sizes = _checked_sizes(request.records)
        answers: list[dict[str, str]] = []
        failed = 0
        with stream.lock:
            for record, size in zip(request.records, sizes, strict=True):
                shard = stream.shard_for(record.partition_key, record.explicit_hash_key)
                if not shard.may_write(size):
                    failed += 1
                    message = f"Rate exceeded for shard {shard.shard_id} in stream {stream.stream_name}."
                    answers.append({"ErrorCode": THROTTLED, "ErrorMessage": message})
                    continue
                number = shard.log.append(record.partition_key, record.data, size)
                answers.append({"SequenceNumber": str(number), "ShardId": shard.shard_id})
        return {"FailedRecordCount": failed, "Records": answers}

    def _get_shard_iterator(self, stream: LiveStream, request: _GetShardIterator) -> dict[str, Any]:
        with stream.lock:
            shard = _shard(stream, request.shard_id)
            try:
                position = self._start(shard, request)
            except ForeignSequenceNumber as exc:
                raise ApiError(INVALID, str(exc)) from exc
            return {"ShardIterator": self._iterator_at(stream, shard, position)}

    def _start(self, shard: LiveShard, request: _GetShardIterator) -> int:
        kind, number = request.shard_iterator_type, request.starting_sequence_number
        if kind == "TRIM_HORIZON":
            return shard.log.horizon
        if kind == "LATEST":
            return shard.log.end
        if kind == "AT_TIMESTAMP" and request.timestamp is not None:
            return shard.log.position_at_time(round(request.timestamp * 1000))
        if kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER") and (number or "").isdecimal():
            return (shard.log.position_at if kind[1] == "T" else shard.log.position_after)(int(number or 0))
        message = f"ShardIteratorType {kind} with sequence number {number!r}, timestamp {request.timestamp!r}"
        raise ApiError(INVALID, message)

    def _get_records(self, stream: LiveStream, request: _GetRecords) -> dict[str, Any]:
        where = _iterator(request.shard_iterator)
        if not 1 <= request.limit <= MAX_READ_RECORDS:
            raise ApiError(INVALID, f"Limit is {request.limit}, expected 1 to {MAX_READ_RECORDS}")
        if self._clock() - where.issued_at > ITERATOR_LIFE_MS:
            message = (
                f"Iterator expired: issued at {where.issued_at}, now {self._clock()}, good for {ITERATOR_LIFE_MS} ms"
            )
            raise ApiError(EXPIRED, message)
        with stream.lock:
            shard = _shard(stream, where.shard)
            if str(shard.log.first_sequence) != where.birth:
                raise ApiError(INVALID, "The iterator was issued for an earlier stream of this name")
            if not shard.reads.take():
                message = f"Rate exceeded for shard {where.shard} in stream {stream.stream_name}: 5 reads a second."
                raise ApiError(THROTTLED, message)
            return self._page(stream, shard, where.position, request.limit)

    def _page(self, stream: LiveStream, shard: LiveShard, position: int, limit: int) -> dict[str, Any]:
        start, entries = shard.log.read(position, limit)
        end = start + len(entries)
        first = shard.log.sequence_number(start)
        answer: dict[str, Any] = {
            "Records": [
                {
                    "SequenceNumber": str(first + offset),
                    "ApproximateArrivalTimestamp": entry.arrived_at / 1000,
                    "Data": entry.data,
                    "PartitionKey": entry.partition_key,
                }
                for offset, entry in enumerate(entries)
            ],
            "MillisBehindLatest": shard.log.millis_behind(end, entries[-1] if entries else None),
        }
        if shard.is_open or end < shard.log.end:
            answer["NextShardIterator"] = self._iterator_at(stream, shard, end)
        else:  # end of a closed shard: no further iterator, and where to read on
            answer["ChildShards"] = [
                _child(child) for child in stream.shards.values() if shard.shard_id in _parents(child)
            ]
        return answer

    def _iterator_at(self, stream: LiveStream, shard: LiveShard, position: int) -> str:
        birth = str(shard.log.first_sequence)
        return str(_Iterator(stream.stream_name, shard.shard_id, birth, position, self._clock()))

    def _list_shards(self, stream: LiveStream, request: _ListShards) -> dict[str, Any]:
        after, chosen = request.exclusive_start_shard_id or "", request.shard_filter
        if request.next_token:
            _, after, text = _token(request.next_token)
            chosen = msgspec.json.decode(text, type=_ShardFilter | None)
        if chosen and chosen.type == "AFTER_SHARD_ID":
            after = max(after, chosen.shard_id or "")
        with stream.lock:
            found = [shard for shard in stream.listed() if shard.shard_id > after and self._matches(shard, chosen)]
            answer: dict[str, Any] = {"Shards": [shard.to_json() for shard in found[: request.max_results]]}
        if len(found) > request.max_results:
            rest = [stream.stream_name, found[request.max_results - 1].shard_id, msgspec.json.encode(chosen).decode()]
            answer["NextToken"] = base64.urlsafe_b64encode(msgspec.json.encode(rest)).decode()
        return answer

    def _matches(self, shard: LiveShard, chosen: _ShardFilter | None) -> bool:
        """The filters of ListShards: ``AT_…`` takes the shards open then, ``FROM_…`` also those opened since."""
        kind = chosen.type if chosen else "FROM_TRIM_HORIZON"
        if chosen is None or kind in ("AFTER_SHARD_ID", "FROM_TRIM_HORIZON"):
            return True
        if kind == "AT_LATEST":
            return shard.is_open
        if kind == "AT_TRIM_HORIZON":
            horizon = self._clock() - shard.log.retention_ms
            return shard.open_at(horizon) or (not shard.parent and shard.log.created_at > horizon)
        if kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP") and chosen.timestamp is not None:
            moment = round(chosen.timestamp * 1000)
            return shard.open_at(moment) or (kind[0] == "F" and shard.log.created_at > moment)
        raise ApiError(INVALID, f"ShardFilter {kind} with timestamp {chosen.timestamp!r}")


def _checked_sizes(records: list[_Record]) -> list[int]:
    """Payload sizes, after the checks that make Kinesis refuse a whole PutRecords call."""
    if not 1 <= len(records) <= MAX_PUT_RECORDS:
        raise ApiError(REFUSED, f"{len(records)} records in one call, expected 1 to {MAX_PUT_RECORDS}")
    sizes = []
    for number, record in enumerate(records, 1):
        try:
            sizes.append(len(binascii.a2b_base64(record.data)))
        except (binascii.Error, ValueError) as exc:
            raise ApiError(MALFORMED, f"Data of record {number} is not base64: {exc}") from exc
        key, explicit = record.partition_key, record.explicit_hash_key
        if not 1 <= len(key) <= 256:
            raise ApiError(REFUSED, f"PartitionKey of record {number}: {len(key)} characters, not 1 to 256")
        if explicit and not (explicit.isdecimal() and int(explicit) < 1 << 128):
            message = f"ExplicitHashKey of record {number} is {explicit!r}, expected a number below 2^128"
            raise ApiError(INVALID, message)
        if sizes[-1] > MAX_RECORD_BYTES:
            message = f"Data of record {number} has {sizes[-1]} bytes, expected at most {MAX_RECORD_BYTES}"
            raise ApiError(REFUSED, message)
    total = sum(sizes) + sum(len(record.partition_key.encode()) for record in records)
    if total > MAX_PUT_BYTES:
        raise ApiError(INVALID, f"Records size {total} exceeds 5 MB limit")
    return sizes


def _shard(stream: LiveStream, shard_id: str) -> LiveShard:
    shard = stream.shards.get(shard_id)
    if not isinstance(shard, LiveShard):
        message = f"Shard {shard_id} in stream {stream.stream_name} does not exist"
        raise ApiError(NOT_FOUND, message)
    return shard


def _iterator(text: str) -> _Iterator:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Iterator)
    except (ValueError, msgspec.DecodeError) as exc:
        raise ApiError(INVALID, f"Invalid ShardIterator {text[:80]!r}") from exc


def _token(text: str) -> tuple[str, str, str]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=tuple[str, str, str])
    except (ValueError, msgspec.DecodeError) as exc:
        raise ApiError(INVALID, f"Invalid NextToken {text[:80]!r}") from exc


def _parents(shard: Any) -> list[str]:
    return [parent for parent in (shard.parent, shard.adjacent_parent) if parent]


def _child(shard: Any) -> dict[str, Any]:
    described = shard.to_json()
    return {"ShardId": shard.shard_id, "ParentShards": _parents(shard), "HashKeyRange": described["HashKeyRange"]}
