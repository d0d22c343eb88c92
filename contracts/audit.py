"""The audit log: who changed what, when and with which outcome. Append-only: each entry is an object of its own."""

from datetime import date, datetime

import msgspec

__all__ = ["AuditEntry", "audit_path", "audit_prefix", "audit_root"]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change. ``who`` is the key's id (``open`` where none is asked for), ``outcome`` an error's code or ``done``.

    ``outcome`` is ``started`` in the entry that is written before the change: one without a second entry was cut off.
    It never names a person: a deletion is named by its id.
    """

    id: str
    at: datetime
    who: str
    action: str
    target: str
    outcome: str = "started"
    detail: str = ""


def audit_root(shop: str) -> str:
    """Where the log of changes of a shop lies."""
    return f"shop={shop}/audit/"


def audit_prefix(shop: str, day: date) -> str:
    """The entries of a UTC day.

    >>> audit_prefix("default", date(2026, 1, 5))
    'shop=default/audit/year=2026/month=01/day=05/'
    """
    return f"{audit_root(shop)}year={day:%Y}/month={day:%m}/day={day:%d}/"


def audit_path(shop: str, entry: AuditEntry) -> str:
    """The object of an entry; those of one change stand together, in the order of time."""
    step = 1 if entry.outcome == "started" else 2
    return f"{audit_prefix(shop, entry.at.date())}{entry.id}-{step}.json"
