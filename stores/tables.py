"""The persistent store: lists by key, the model registry, and the CURRENT pointer, which is the authority.

Two stores keep this contract, and ``tests/stores/test_tables_contract.py`` holds both to it: DynamoDB
(:mod:`stores.dynamodb`, the default) and Aurora PostgreSQL (:mod:`stores.postgresql`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from contracts.errors import PublishConflict
from contracts.lists import next_rev
from contracts.pointer import Pointer
from contracts.settings import Settings
from stores.retry import delays

__all__ = ["Kind", "Row", "Tables", "switch_pointer"]

Kind = Literal["dynamodb", "postgresql"]

Row = tuple[str, bytes, int]
"""Partition key, value, and the epoch second at which it expires."""

_SWITCHES: Final = 5


class Tables(Protocol):
    """Rows with an expiry, registry items without, and one pointer a shop. Keys come from :mod:`contracts.keys`.

    Every method raises :class:`~contracts.errors.StoreError` once its retries are used up. Writes are idempotent.
    Expired rows are never returned, whenever the store deletes them. Threads may share one instance.
    """

    @property
    def kind(self) -> Kind:
        """Which store this is."""
        ...

    @staticmethod
    def from_settings(settings: Settings, *, timeout_s: float = 10.0, writers: int = 0) -> "Tables":
        """The store that ``persistent.store`` names.

        Args:
            timeout_s: for one operation.
            writers: how many tasks write at a time; each keeps to its share of the store's rate. 0: no pacing.
        """
        # Imported here: a function that serves from one store need not carry the other's client.
        if settings.persistent_store == "postgresql":
            from stores.postgresql import PostgresTables

            return PostgresTables.open(settings, timeout_s=timeout_s, writers=writers)
        from stores.dynamodb import DynamoTables

        return DynamoTables.open(settings, timeout_s=timeout_s, writers=writers)

    def ensure(self) -> None:
        """Create the table where it is missing (DynamoDB: on AWS the deployment makes it), or bring it up to date."""
        ...

    def prepare(self) -> None:
        """What a run does before it writes: PostgreSQL's schema is brought up to date, DynamoDB needs nothing."""
        ...

    def get(self, key: str) -> bytes | None:
        """The value of a row or registry item, or ``None`` where it is absent or expired."""
        ...

    def rows(self, keys: Sequence[str], *, consistent: bool = False) -> list[Row | None]:
        """The rows of ``keys`` (distinct); ``None`` where absent or expired. For the trainer, not for serving."""
        ...

    def put_many(self, rows: Iterable[Row]) -> int:
        """Write rows (keys distinct) in batches, none dropped; returns how many."""
        ...

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete rows (keys distinct); those that are not there do no harm."""
        ...

    def register(self, shop: str, version: str, manifest: bytes) -> None:
        """Write the registry item of a model version (the manifest's JSON); writing it again changes nothing."""
        ...

    def current(self, shop: str) -> Pointer | None:
        """The live version of a shop, read consistently."""
        ...

    def switch(self, shop: str, pointer: Pointer, expected: str | None) -> Pointer:
        """Make ``pointer`` the live version if ``expected`` still is (``None``: if there is none yet).

        Returns:
            The pointer with its revision, above that of the one before.

        Raises:
            PublishConflict: another version is live by now.
        """
        ...

    def prune(self) -> int:
        """Delete expired rows; returns how many. DynamoDB does it by itself, up to two days late."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


def switch_pointer(
    shop: str,
    pointer: Pointer,
    expected: str | None,
    current: Callable[[], Pointer | None],
    replace: Callable[[Pointer, Pointer | None], bool],
) -> Pointer:
    """:meth:`Tables.switch` for a store that reads the pointer, and replaces it only where it is as it was read.

    Raises:
        PublishConflict: another version is live by now.
    """
    now_us = int(pointer.switched_at.timestamp() * 1_000_000)
    live = current()
    for _ in delays(_SWITCHES):
        if (live.version if live else None) != expected:
            break
        revised = msgspec.structs.replace(pointer, rev=next_rev(live.rev or None if live else None, now_us))
        if replace(revised, live):
            return revised
        live = current()
    if live is not None and live.version == pointer.version:
        return live  # an earlier attempt whose answer was lost
    message = (
        f"{pointer.version} was not made current for shop {shop!r}: expected {expected} to be live, "
        f"found {live.version if live else None}; start again on top of it"
    )
    raise PublishConflict(message)
