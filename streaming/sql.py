"""The job's SQL: de-duplication, running bucket values and event-time windows, written from the feature definitions."""

from collections.abc import Sequence
from typing import Final

from contracts.features import BUCKET_MS, ITEM_FEATURES, USER_FEATURES, BucketFeature, feature_columns
from contracts.forgetting import FORGOTTEN
from contracts.lake import UNKNOWN_SHOP

__all__ = [
    "DISTINCT",
    "bucket_values",
    "distinct_events",
    "parsed_columns",
    "parsed_records",
    "rejected_rows",
    "served_rows",
    "windows",
]

DISTINCT: Final = (
    "shop_id, event_id, event_type, subject, anonymous_id, item_id, occurred_ms, received_ms, amount, late, action"
)


def parsed_records(records: str) -> str:
    """Each record with the row that ``parse`` makes of it, still as one column.

    The fields are taken out of it only behind a boundary of planning: here the planner would call the function anew for
    each of them.
    """
    return f"""
        SELECT data, shard_id, sequence_number, arrived_ms, parse(data, arrived_ms) AS parsed
        FROM (SELECT data, shard_id, sequence_number, {_ARRIVED_MS} AS arrived_ms FROM {records})
    """


_ARRIVED_MS: Final = (
    "1000 * CAST(TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', CAST(arrived AS TIMESTAMP(3))) AS BIGINT)"
)


def parsed_columns(records: str, columns: Sequence[str]) -> str:
    """The fields of the parsed rows as columns."""
    fields = ", ".join(f"parsed.{column} AS {column}" for column in columns)
    return f"SELECT {fields}, rowtime, proctime FROM {records}"


def distinct_events(parsed: str) -> str:
    """The first of each ``event_id`` of a shop within the state's time to live, in arrival order.

    This form (``ROW_NUMBER … ORDER BY proctime ASC = 1``) is planned as an append-only de-duplication that keeps one
    flag a key.
    """
    return f"""
        SELECT {DISTINCT} FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY shop_id, event_id ORDER BY proctime ASC) AS nth
            FROM {parsed} WHERE reason = ''
        ) WHERE nth = 1
    """


def bucket_values(events: str) -> str:
    """Each event with the running absolute values of its item's and its person's 5-minute bucket.

    The values of a bucket only grow, so whoever writes them keeps the larger and a replay does no harm. The chain ends
    on the person's partition, so that one person's rows mostly meet in one subtask.
    """
    bucket = f"occurred_ms - MOD(occurred_ms, {BUCKET_MS}) AS bucket_ms"
    items = _running("item", ITEM_FEATURES, "shop_id, item_id, bucket_ms")
    users = _running("user", USER_FEATURES, "shop_id, subject, bucket_ms")
    item_columns = ", ".join(feature_columns("item", ITEM_FEATURES))
    return f"""
        SELECT {DISTINCT}, bucket_ms, {item_columns}, {users} FROM (
            SELECT {DISTINCT}, bucket_ms, proctime, {items} FROM (SELECT *, {bucket} FROM {events})
        )
    """


def _running(prefix: str, features: Sequence[BucketFeature], key: str) -> str:
    window = f"(PARTITION BY {key} ORDER BY proctime ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    names = feature_columns(prefix, features)
    return ", ".join(
        f"{feature.aggregate}({feature.expression}) OVER {window} AS {name}"
        for feature, name in zip(features, names, strict=True)
    )


def windows(events: str, entity: str, column: str, features: Sequence[BucketFeature]) -> str:
    """Rows of the Parquet features of one entity: one row an entity and closed 5-minute event-time window."""
    sums = ", ".join(f"{feature.aggregate}({feature.expression}) AS `{feature.name}`" for feature in features)
    names = ", ".join(f"`{feature.name}`" for feature in features)
    partition = _partition("'features'", "window_start", entity=entity)
    return f"""
        SELECT {column} AS entity_id, window_start, window_end, {names}, {partition}
        FROM (
            SELECT shop_id, {column}, window_start, window_end, {sums}
            FROM TABLE(TUMBLE(TABLE {events}, DESCRIPTOR(rowtime), INTERVAL '5' MINUTE))
            WHERE NOT late AND {column} <> ''
            GROUP BY shop_id, {column}, window_start, window_end
        )
    """


def rejected_rows(records: str) -> str:
    """Rejected records with the reason and where on the stream they are, for the dead-letter prefix.

    What a forgotten person did is nowhere: not even there.
    """
    partition = _partition("'dead-letter'", _instant("arrived_ms"), f"'{UNKNOWN_SHOP}'")
    return f"""
        SELECT parsed.reason, parsed.detail, shard_id, sequence_number, arrived_ms, data, {partition}
        FROM {records} WHERE parsed.reason <> '' AND parsed.reason <> '{FORGOTTEN}'
    """


def served_rows(scored: str) -> str:
    """One row an event the stream counted: what became of it and what was recommended."""
    return f"""
        SELECT event_id, subject, event_type, item_id, occurred_ms, received_ms, late,
               served.outcome, served.model_version, served.items,
               {_partition("'served'", _instant("received_ms"))}
        FROM {scored}
    """


def _partition(dataset: str, time: str, shop: str = "shop_id", entity: str | None = None) -> str:
    """The columns that name a row's folder. ``DATE_FORMAT`` for each part would take longer than all else of a row."""
    below = f"'{entity}' AS entity, " if entity else ""
    parts = [f"CAST(EXTRACT(YEAR FROM {time}) AS STRING) AS `year`"]
    parts += [f"LPAD(CAST(EXTRACT({name} FROM {time}) AS STRING), 2, '0') AS `{name.lower()}`" for name in _PARTS]
    return f"{shop} AS shop, {dataset} AS dataset, {below}{', '.join(parts)}"


_PARTS: Final = ("MONTH", "DAY", "HOUR")


def _instant(milliseconds: str) -> str:
    """Epoch milliseconds as a time of UTC, which the job's time zone is."""
    return f"CAST(TO_TIMESTAMP_LTZ({milliseconds}, 3) AS TIMESTAMP(3))"
