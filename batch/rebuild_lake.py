"""What the live values of a shop should hold, computed by Spark from the lake with the contract's own definitions."""

from typing import Final, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from contracts.features import BUCKET_MS, ITEM_FEATURES, USER_FEATURES, BucketFeature
from contracts.held import MOST_BOUGHT, MOST_CART

__all__ = ["Reach", "aliases", "distinct", "items", "people"]

_EVENTS: Final = "rebuild_events"
_MARKS: Final = ("add_to_cart", "remove_from_cart")


class Reach(NamedTuple):
    """How far back each kind of value can still be read, epoch ms, and how many actions a person keeps."""

    buckets_ms: int
    actions_ms: int
    keep: int


def distinct(records: DataFrame) -> DataFrame:
    """The first copy of each ``event_id``, as the stream counts it, from :func:`batch.records.lake_records`."""
    records.createOrReplaceTempView("rebuild_records")
    first = records.sparkSession.sql(
        """
        SELECT * FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY received_ms, occurred_ms) AS nth
            FROM rebuild_records WHERE reason = ''
        ) WHERE nth = 1
        """
    )
    return first.drop("reason", "nth")


def people(spark: SparkSession, events: DataFrame, reach: Reach) -> DataFrame:
    """One row a subject: ``actions`` (its newest), ``buckets`` (start in seconds, values), what it holds, who is who.

    ``bought`` and ``cart`` are the newest of :mod:`contracts.held`; late events count there.

    ``aliases`` of a user are the visitors that turned out to be them, with the time of the latest identify, and
    ``owner`` of a visitor is the user it turned out to be, likewise.
    """
    events.createOrReplaceTempView(_EVENTS)
    return spark.sql(
        f"""
        WITH newest AS (
            SELECT subject, COLLECT_LIST(STRUCT(occurred_ms, event_id, event_type, item_id)) AS actions FROM (
                SELECT *, ROW_NUMBER() OVER (PARTITION BY subject ORDER BY occurred_ms DESC, event_id DESC) AS nth
                FROM {_EVENTS} WHERE action AND NOT late AND occurred_ms >= {reach.actions_ms}
            ) WHERE nth <= {reach.keep} GROUP BY subject
        ), sums AS ({_buckets("subject", USER_FEATURES, reach)}
        ), said AS (
            SELECT subject, anonymous_id, MAX(occurred_ms) AS at_ms
            FROM {_EVENTS} WHERE event_type = 'identify' GROUP BY subject, anonymous_id
        ), known AS (
            SELECT subject, COLLECT_LIST(STRUCT(anonymous_id, at_ms)) AS aliases FROM said GROUP BY subject
        ), owned AS (
            SELECT CONCAT('a.', anonymous_id) AS subject, MAX(STRUCT(at_ms, subject)) AS owner
            FROM said GROUP BY anonymous_id
        ), purchases AS (
            SELECT subject, COLLECT_LIST(STRUCT(item_id, at_ms)) AS bought FROM ({_held(reach, "purchase")}
            ) WHERE nth <= {MOST_BOUGHT} GROUP BY subject
        ), marks AS (
            SELECT subject, COLLECT_LIST(STRUCT(newest.*, item_id)) AS cart FROM ({_held(reach, *_MARKS)}
            ) WHERE nth <= {MOST_CART} GROUP BY subject
        ), named AS (
            SELECT subject FROM newest UNION SELECT subject FROM sums UNION SELECT subject FROM purchases
            UNION SELECT subject FROM marks UNION SELECT subject FROM known UNION SELECT subject FROM owned
        )
        SELECT named.subject, actions, buckets, aliases, owner, bought, cart FROM named
        LEFT JOIN purchases ON named.subject = purchases.subject LEFT JOIN marks ON named.subject = marks.subject
        LEFT JOIN newest ON named.subject = newest.subject LEFT JOIN sums ON named.subject = sums.subject
        LEFT JOIN known ON named.subject = known.subject LEFT JOIN owned ON named.subject = owned.subject
        """
    )


def _held(reach: Reach, *event_types: str) -> str:
    """The newest of some events of each subject and item, numbered from a subject's newest item on."""
    types = ", ".join(f"'{event_type}'" for event_type in event_types)
    return f"""
        SELECT *, ROW_NUMBER() OVER (PARTITION BY subject ORDER BY newest DESC, item_id DESC) AS nth FROM (
            SELECT subject, item_id, MAX(occurred_ms) AS at_ms,
                   MAX(STRUCT(occurred_ms, event_id, event_type = 'add_to_cart' AS inside)) AS newest
            FROM {_EVENTS} WHERE event_type IN ({types}) AND occurred_ms > {reach.actions_ms} GROUP BY subject, item_id
        )
    """


def items(spark: SparkSession, events: DataFrame, reach: Reach) -> DataFrame:
    """``item_id`` and ``buckets``, one row an item that somebody did something with."""
    events.createOrReplaceTempView(_EVENTS)
    return spark.sql(_buckets("item_id", ITEM_FEATURES, reach))


def aliases(spark: SparkSession, events: DataFrame) -> DataFrame:
    """``anonymous_id`` and ``subject``: who each visitor turned out to be, by the latest identify."""
    events.createOrReplaceTempView(_EVENTS)
    return spark.sql(
        f"""
        SELECT anonymous_id, MAX_BY(subject, STRUCT(occurred_ms, subject)) AS subject
        FROM {_EVENTS} WHERE event_type = 'identify' GROUP BY anonymous_id
        """
    )


def _buckets(entity: str, features: tuple[BucketFeature, ...], reach: Reach) -> str:
    """One row an entity with its buckets that hold anything; values in the order of the features."""
    values = ", ".join(f"{feature.aggregate}({feature.expression})" for feature in features)
    start_s = f"(occurred_ms - MOD(occurred_ms, {BUCKET_MS})) DIV 1000"
    return f"""
        SELECT {entity}, COLLECT_LIST(STRUCT(start_s, `values`)) AS buckets FROM (
            SELECT {entity}, {start_s} AS start_s, ARRAY({values}) AS `values`
            FROM {_EVENTS} WHERE NOT late AND {entity} <> '' AND occurred_ms >= {reach.buckets_ms}
            GROUP BY 1, 2
        ) WHERE EXISTS(`values`, value -> value > 0) GROUP BY {entity}
    """
