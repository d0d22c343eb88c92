"""The schema of the PostgreSQL store, as numbered steps that are each applied once."""

from typing import Any, Final

import psycopg
from psycopg import sql

__all__ = ["STEPS", "bring_up_to_date"]

_LOCK: Final = 0x6C697665  # "live": one process at a time changes the schema

STEPS: Final = (
    # 1: rows (registry items never expire), and the pointer of each shop.
    """
    CREATE TABLE rows (
        pk text COLLATE "C" PRIMARY KEY,
        v bytea NOT NULL,
        expires_at timestamptz
    );
    CREATE INDEX rows_expiry ON rows (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE pointers (
        pk text COLLATE "C" PRIMARY KEY,
        version text NOT NULL,
        switched_at timestamptz NOT NULL,
        rev text NOT NULL
    );
    """,
)
"""Append only: a step that was released is never changed. A step must let the release before it go on working."""


def bring_up_to_date(connection: "psycopg.Connection[Any]", schema: str) -> int:
    """Apply the steps that are missing, each in a transaction; returns how many. Safe from many processes at once.

    An up-to-date schema costs one read and needs no right to change it.
    """
    if _applied(connection, schema) >= len(STEPS):
        return 0
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS steps (number int PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        done = _applied(connection, schema)
        for number, step in enumerate(STEPS[done:], start=done + 1):
            connection.execute(sql.SQL(step))
            connection.execute("INSERT INTO steps (number) VALUES (%s)", (number,))
    return len(STEPS) - done


def _applied(connection: "psycopg.Connection[Any]", schema: str) -> int:
    there = connection.execute("SELECT to_regclass(%s)", (f"{schema}.steps",)).fetchone()
    if there is None or there[0] is None:
        return 0
    newest = connection.execute("SELECT coalesce(max(number), 0) FROM steps").fetchone()
    return int(newest[0]) if newest else 0
