"""What a freshness run showed: its figures, and where the time of a probe went, by the stamps that there are."""

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from benchmarks.freshness_load import Load, Probe
from contracts.settings import Settings
from local.probe_freshness import percentile
from stores.aws import client

__all__ = ["arrivals", "stages", "summary"]

TIMEOUT_MS = 10_000.0


class _Head(msgspec.Struct):
    event_id: str


def summary(load: Load) -> dict[str, Any]:
    """The figures of a rate; a list that never came counts as the time-out.

    >>> probe = Probe("p-0", 1000.0, 1010.0, 1200.0, 1250.0)
    >>> load = Load(0, 1, 0.0, [probe, Probe("p-1", 1000.0, 1010.0)], 0.7, 0.1, 10)
    >>> {k: summary(load)[k] for k in ("p50_ms", "max_ms", "n", "timed_out", "relevant_share")}
    {'p50_ms': 250.0, 'max_ms': 10000.0, 'n': 2, 'timed_out': 1, 'relevant_share': 0.7}
    """
    took = [probe.seen_ms - probe.received_ms if probe.seen_ms else TIMEOUT_MS for probe in load.probes]
    figures = {f"p{round(100 * q)}_ms": round(percentile(took, q), 1) for q in (0.5, 0.95, 0.99)}
    return figures | {
        "max_ms": round(max(took), 1),
        "n": len(took),
        "timed_out": sum(not probe.seen_ms for probe in load.probes),
        "relevant_share": load.relevant_share,
        "control_share": load.control_share,
        "behind_s": load.behind_s,
    }


def stages(probes: Sequence[Probe], on_stream: Mapping[str, float]) -> dict[str, float]:
    """Medians in ms between the stamps of probes whose list came.

    ``stream to list`` holds the wait for the next read (half the interval on average), Flink, and the wait for the
    bundle; the list's stamp is set when its scores are computed, so ``list to seen`` holds the write to Redis, the
    request and up to one polling interval.

    >>> stages([Probe("p", 1000.0, 1010.0, 1200.0, 1250.0)], {"p": 1004.0})
    {'collector to stream': 4.0, 'stream to list': 196.0, 'list to seen': 50.0}
    """
    rows = [
        (at - probe.received_ms, probe.written_ms - at, probe.seen_ms - probe.written_ms)
        for probe in probes
        if probe.seen_ms and (at := on_stream.get(probe.event_id))
    ]
    names = ("collector to stream", "stream to list", "list to seen")
    return {
        name: round(percentile(column, 0.5), 1) for name, column in zip(names, zip(*rows, strict=True), strict=False)
    }


def arrivals(settings: Settings, since_ms: int, prefix: str) -> dict[str, float]:
    """When each event whose id begins so arrived on the stream, epoch milliseconds; read when the load is over."""
    kinesis = client("kinesis", settings)
    found: dict[str, float] = {}
    mark = f'"event_id":"{prefix}'.encode()
    for shard in kinesis.list_shards(StreamName=settings.stream_name)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=settings.stream_name,
            ShardId=shard["ShardId"],
            ShardIteratorType="AT_TIMESTAMP",
            Timestamp=since_ms / 1000,
        )["ShardIterator"]
        while iterator:
            try:
                page = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            except ClientError as exc:
                if exc.response["Error"]["Code"] != "ProvisionedThroughputExceededException":
                    raise
                time.sleep(0.3)  # the job and the delivery read this shard too
                continue
            for record in page["Records"]:
                data = record["Data"] if isinstance(record["Data"], bytes) else base64.b64decode(record["Data"])
                if mark in data:
                    event_id = msgspec.json.decode(data, type=_Head).event_id
                    found[event_id] = record["ApproximateArrivalTimestamp"].timestamp() * 1000
            iterator = page["NextShardIterator"] if page["Records"] or page["MillisBehindLatest"] else None
    return found
