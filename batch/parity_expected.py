"""Every live feature once more, from the lake's events by SQL of its own: what the stream's values are held against.

Nothing here uses :mod:`contracts.features` or :mod:`contracts.live`: an error there must not hide in a copy of itself.
The definitions are those that docs/features.md gives in words, computed from single events instead of buckets, and the
numbers are written out. Input is the table of :func:`batch.records.lake_records`.
"""

from typing import Any, Final, NamedTuple

from pyspark.sql import DataFrame, SparkSession

__all__ = [
    "NO_ITEM",
    "NO_PERSON",
    "Frame",
    "catalogue_table",
    "events_table",
    "items",
    "owners",
    "people",
    "trending",
    "windows",
]

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_FIVE: Final = 5 * _MINUTE
_WINDOWS: Final = {"5m": 5 * _MINUTE, "1h": _HOUR, "24h": 24 * _HOUR}
_LOOKED: Final = "event_type IN ('view', 'click')"
_CARTED: Final = "event_type = 'add_to_cart'"
_BOUGHT: Final = "event_type = 'purchase'"
_REMOVED: Final = "event_type = 'remove_from_cart'"
_PRESENT: Final = "event_type IN ('view', 'click', 'add_to_cart', 'remove_from_cart', 'purchase')"
_WANTED: Final = "event_type IN ('view', 'click', 'add_to_cart', 'purchase')"
_WEIGHT: Final = f"CASE WHEN {_LOOKED} THEN 1D WHEN {_CARTED} THEN 3D WHEN {_BOUGHT} THEN 5D ELSE 0D END"


class Frame(NamedTuple):
    """What is compared: the instant ``at_ms``, and the edges that fairness wants; all epoch milliseconds.

    ``floor_ms``: events of earlier 5-minute spans are left out, because a running writer has pruned them by now.
    ``actions_ms``: recent actions from then on. ``keep``: how many of them a person's value holds, at least.
    """

    at_ms: int
    floor_ms: int
    actions_ms: int
    keep: int

    @property
    def until_ms(self) -> int:
        """The end of the 5-minute span that holds the instant: it counts whole.

        >>> Frame(300_001, 0, 0, 40).until_ms, Frame(300_000, 0, 0, 40).until_ms, Frame(299_999, 0, 0, 40).until_ms
        (600000, 600000, 300000)
        """
        return (self.at_ms // _FIVE + 1) * _FIVE

    def since(self, window: str) -> str:
        """SQL: whether an event counts in the window, which begins with the 5-minute span that holds its edge.

        >>> Frame(3_900_000, 0, 0, 40).since("1h")
        '(occurred_ms >= 300000 AND occurred_ms < 4200000)'
        """
        begin = max((self.at_ms - _WINDOWS[window]) // _FIVE * _FIVE, self.floor_ms)
        return f"(occurred_ms >= {begin} AND occurred_ms < {self.until_ms})"


def events_table(spark: SparkSession, records: DataFrame, taken: str) -> DataFrame:
    """``parity_events``: the first copy of each accepted event, with the ``person`` it belongs to at last.

    Args:
        taken: SQL of which records the live side can know.
    """
    records.createOrReplaceTempView("parity_records")
    first = spark.sql(
        f"""
        SELECT * FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY received_ms, occurred_ms) AS copy
            FROM parity_records WHERE reason = '' AND {taken}
        ) WHERE copy = 1
        """
    )
    first.createOrReplaceTempView("parity_distinct")
    owners(spark).persist().createOrReplaceTempView("parity_owners")
    events = spark.sql(
        """
        SELECT e.*, COALESCE(o.owner, e.subject) AS person
        FROM parity_distinct e LEFT JOIN parity_owners o ON e.subject = CONCAT('a.', o.visitor)
        """
    ).persist()
    events.createOrReplaceTempView("parity_events")
    return events


def owners(spark: SparkSession) -> DataFrame:
    """``visitor`` (an anonymous id) and ``owner``: who that turned out to be, by the latest identify; 32 a person."""
    return spark.sql(
        """
        SELECT visitor, owner FROM (
            SELECT visitor, said.subject AS owner,
                   ROW_NUMBER() OVER (PARTITION BY said.subject ORDER BY said.occurred_ms DESC, visitor DESC) AS nth
            FROM (
                SELECT anonymous_id AS visitor, MAX(STRUCT(occurred_ms, subject)) AS said
                FROM parity_distinct WHERE event_type = 'identify' GROUP BY anonymous_id
            )
        ) WHERE nth <= 32
        """
    )


def catalogue_table(spark: SparkSession, rows: list[tuple[str, str, float | None]]) -> None:
    """``parity_catalogue``: ``item_id``, ``category`` and the price's ``position`` in it: the share that is cheaper."""
    given = spark.createDataFrame(rows, "item_id string, category string, price double")
    given.createOrReplaceTempView("parity_items")
    spark.sql(
        """
        SELECT i.item_id, i.category, p.position FROM parity_items i LEFT JOIN (
            SELECT item_id, ((RANK() OVER (PARTITION BY category ORDER BY price) - 1)
                + COUNT(*) OVER (PARTITION BY category, price) / 2) / COUNT(*) OVER (PARTITION BY category) AS position
            FROM parity_items WHERE category <> '' AND price IS NOT NULL
        ) p ON i.item_id = p.item_id
        """
    ).persist().createOrReplaceTempView("parity_catalogue")


NO_PERSON: Final[dict[str, Any]] = {
    **{
        f"{name}_{window}": 0.0
        for name in ("views", "carts", "purchases", "spend", "cart_removals")
        for window in _WINDOWS
    },
    "session_start": None,
    "session_length": 0,
    "session_depth": 0.0,
    "last_seen": None,
    "category_affinity": {},
    "price_affinity": 0.5,
    "recent_actions": [],
    "bought": [],
    "cart": [],
}
"""Of somebody of whom the lake knows nothing."""

NO_ITEM: Final[dict[str, Any]] = {
    **{f"{name}_{window}": 0.0 for name in ("views", "carts", "purchases", "revenue") for window in _WINDOWS},
    "conversion": 1 / 50,
    "trend": 0.0,
    "last_purchase": None,
}
"""Of an item with which nobody did anything."""


def _count(name: str, of: str, frame: Frame, value: str = "1D") -> list[str]:
    return [
        f"SUM(CASE WHEN NOT late AND {of} AND {frame.since(window)} THEN {value} ELSE 0D END) AS {name}_{window}"
        for window in _WINDOWS
    ]


def people(spark: SparkSession, frame: Frame) -> DataFrame:
    """One row a person of whom the live side can know anything: ``entity`` and its features."""
    sums = [
        *_count("views", _LOOKED, frame),
        *_count("carts", _CARTED, frame),
        *_count("purchases", _BOUGHT, frame),
        *_count("spend", _BOUGHT, frame, "amount"),
        *_count("cart_removals", _REMOVED, frame),
    ]
    counted = f"SELECT person AS entity, {', '.join(sums)} FROM parity_events GROUP BY person"
    return spark.sql(
        f"""
        SELECT c.*, s.last_seen, s.session_start, COALESCE(s.session_length, 0L) AS session_length,
            COALESCE(s.session_depth, 0D) AS session_depth,
            COALESCE(a.category_affinity, MAP()) AS category_affinity,
            COALESCE(a.price_affinity, 0.5D) AS price_affinity,
            COALESCE(r.recent_actions, ARRAY()) AS recent_actions,
            COALESCE(b.bought, ARRAY()) AS bought, COALESCE(k.cart, ARRAY()) AS cart
        FROM ({counted}) c
        LEFT JOIN ({_sessions(frame)}) s ON c.entity = s.entity
        LEFT JOIN ({_affinities(frame)}) a ON c.entity = a.entity
        LEFT JOIN ({_recent(frame)}) r ON c.entity = r.entity
        LEFT JOIN ({_bought(frame)}) b ON c.entity = b.entity
        LEFT JOIN ({_cart(frame)}) k ON c.entity = k.entity
        """
    )


def _sessions(frame: Frame) -> str:
    """The newest visit of the day: it began after more than 30 minutes of silence; it is on for as long again."""
    steps = f"""
        SELECT person, occurred_ms,
            occurred_ms - LAG(occurred_ms) OVER (PARTITION BY person ORDER BY occurred_ms) AS silence
        FROM parity_events WHERE NOT late AND {_PRESENT} AND {frame.since("24h")}
    """
    visits = f"""
        SELECT person, occurred_ms, SUM(CASE WHEN silence > {30 * _MINUTE} THEN 1 ELSE 0 END)
            OVER (PARTITION BY person ORDER BY occurred_ms RANGE UNBOUNDED PRECEDING) AS visit
        FROM ({steps})
    """
    newest = f"""
        SELECT person, MAX_BY(began, visit) AS began, MAX_BY(ended, visit) AS ended, MAX_BY(done, visit) AS done FROM (
            SELECT person, visit, MIN(occurred_ms) AS began, MAX(occurred_ms) AS ended, COUNT(*) AS done
            FROM ({visits}) GROUP BY person, visit
        ) GROUP BY person
    """
    on = f"{frame.at_ms} - ended <= {30 * _MINUTE}"
    return f"""
        SELECT person AS entity, ended AS last_seen, IF({on}, began, NULL) AS session_start,
            IF({on}, ended - began, 0L) AS session_length, IF({on}, CAST(done AS DOUBLE), 0D) AS session_depth
        FROM ({newest})
    """


def _newest(frame: Frame, where: str, count: int) -> str:
    return f"""
        SELECT * FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY person ORDER BY occurred_ms DESC, event_id DESC) AS nth
            FROM parity_events WHERE NOT late AND {_WANTED} AND {where}
        ) WHERE nth <= {count}
    """


def _affinities(frame: Frame) -> str:
    """The newest 20 actions of 24 hours: weight by category, and the weighted mean of price positions."""
    within = f"occurred_ms > {frame.at_ms - 24 * _HOUR} AND occurred_ms <= {frame.at_ms}"
    weighed = f"""
        SELECT e.person, {_WEIGHT} AS weight, c.category, c.position
        FROM ({_newest(frame, within, 20)}) e LEFT JOIN parity_catalogue c ON e.item_id = c.item_id
    """
    categories = f"""
        SELECT person, MAP_FROM_ENTRIES(COLLECT_LIST(STRUCT(category, weight / total))) AS category_affinity FROM (
            SELECT person, category, SUM(weight) AS weight, SUM(SUM(weight)) OVER (PARTITION BY person) AS total
            FROM ({weighed}) WHERE category <> '' GROUP BY person, category
        ) GROUP BY person
    """
    prices = f"""
        SELECT person, SUM(weight * position) / SUM(weight) AS price_affinity
        FROM ({weighed}) WHERE position IS NOT NULL GROUP BY person
    """
    return f"""
        SELECT COALESCE(k.person, p.person) AS entity, k.category_affinity, p.price_affinity
        FROM ({categories}) k FULL OUTER JOIN ({prices}) p ON k.person = p.person
    """


def _recent(frame: Frame) -> str:
    within = f"occurred_ms >= {frame.actions_ms} AND occurred_ms < {frame.until_ms}"
    return f"""
        SELECT person AS entity,
            SORT_ARRAY(COLLECT_LIST(STRUCT(occurred_ms, event_id, event_type, item_id))) AS recent_actions
        FROM ({_newest(frame, within, frame.keep)}) GROUP BY person
    """


def _within(frame: Frame) -> str:
    return f"occurred_ms > {frame.actions_ms} AND occurred_ms < {frame.until_ms}"


def _bought(frame: Frame) -> str:
    """Every item bought, and when last; late events count, since what somebody owns does not go out of date."""
    return f"""
        SELECT person AS entity, SORT_ARRAY(COLLECT_LIST(STRUCT(item_id, at_ms))) AS bought FROM (
            SELECT person, item_id, MAX(occurred_ms) AS at_ms
            FROM parity_events WHERE {_BOUGHT} AND {_within(frame)} GROUP BY person, item_id
        ) GROUP BY person
    """


def _cart(frame: Frame) -> str:
    """The items whose last step, of being put in, taken out and bought, was being put in."""
    return f"""
        SELECT person AS entity, SORT_ARRAY(COLLECT_LIST(item_id)) AS cart FROM (
            SELECT person, item_id, MAX_BY(event_type, STRUCT(occurred_ms, {_BOUGHT}, event_id)) AS step
            FROM parity_events WHERE {_within(frame)} AND ({_CARTED} OR {_REMOVED} OR {_BOUGHT})
            GROUP BY person, item_id
        ) WHERE step = 'add_to_cart' GROUP BY person
    """


def items(spark: SparkSession, frame: Frame) -> DataFrame:
    """One row an item that somebody did something with: ``entity`` and its features."""
    sums = [
        *_count("views", _LOOKED, frame),
        *_count("carts", _CARTED, frame),
        *_count("purchases", _BOUGHT, frame),
        *_count("revenue", _BOUGHT, frame, "amount"),
    ]
    last = f"MAX(CASE WHEN {_BOUGHT} AND {frame.since('24h')} THEN occurred_ms END) AS last_purchase"
    counted = f"""
        SELECT item_id AS entity, {", ".join(sums)}, {last}
        FROM parity_events WHERE NOT late AND item_id <> '' GROUP BY item_id
    """
    hour, day = (f"(views_{w} + 3 * carts_{w} + 5 * purchases_{w})" for w in ("1h", "24h"))
    return spark.sql(
        f"""
        SELECT *, (purchases_24h + 1) / (GREATEST(views_24h, purchases_24h) + 50) AS conversion,
            LN(({hour} + 20) / ({day} / 24 + 20)) AS trend
        FROM ({counted})
        """
    )


def trending(spark: SparkSession, frame: Frame) -> DataFrame:
    """``category`` ('': the whole shop), ``item_id`` and ``weight``: what was done in the newest twelve 5 minutes."""
    newest = f"occurred_ms >= {max(frame.until_ms - 12 * _FIVE, frame.floor_ms)} AND occurred_ms < {frame.until_ms}"
    return spark.sql(
        f"""
        WITH weighed AS (
            SELECT item_id, SUM({_WEIGHT}) AS weight FROM parity_events
            WHERE NOT late AND item_id <> '' AND {newest} GROUP BY item_id HAVING SUM({_WEIGHT}) > 0
        )
        SELECT '' AS category, item_id, weight FROM weighed
        UNION ALL
        SELECT c.category, w.item_id, w.weight
        FROM weighed w JOIN parity_catalogue c ON w.item_id = c.item_id WHERE c.category <> ''
        """
    )


def windows(spark: SparkSession, column: str, taken: str) -> DataFrame:
    """The rows that Parquet should hold of ``item_id`` or ``subject``: one an entity and 5 minutes.

    Args:
        taken: SQL of which events passed through the stream.
    """
    into = f"(occurred_ms % {_FIVE})"
    money = f"SUM(IF({_BOUGHT}, amount, 0D))"
    own = {
        "item_id": [f"{money} AS revenue", f"MAX(IF({_BOUGHT}, 1D + {into}, 0D)) AS last_purchase"],
        "subject": [
            f"{money} AS spend",
            f"SUM(IF({_REMOVED}, 1D, 0D)) AS cart_removals",
            f"MAX(IF({_PRESENT}, {_FIVE}D - {into}, 0D)) AS first",
            f"MAX(IF({_PRESENT}, 1D + {into}, 0D)) AS last",
        ],
    }[column]
    both = [(_LOOKED, "views"), (_CARTED, "carts"), (_BOUGHT, "purchases")]
    sums = [f"SUM(IF({of}, 1D, 0D)) AS {name}" for of, name in both]
    return spark.sql(
        f"""
        SELECT {column} AS entity_id, occurred_ms - occurred_ms % {_FIVE} + {_FIVE} AS end_ms, {", ".join(sums + own)}
        FROM parity_events WHERE NOT late AND {column} <> '' AND {taken}
        GROUP BY entity_id, end_ms
        """
    )
