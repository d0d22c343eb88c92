"""What impressions led to: the columns of the attribution's tables, and the windows of its rule (docs/experiments.md).

Paths are in :mod:`contracts.lake`; :mod:`batch.attribution` writes the tables.
"""

from datetime import datetime
from typing import Final

import msgspec

from contracts.errors import ContractError

__all__ = [
    "AFTER_CLICK_MS",
    "AFTER_VIEW_MS",
    "ITEM_COLUMNS",
    "TOTAL_COLUMNS",
    "UNIT_COLUMNS",
    "AttributionSummary",
    "ListTotals",
    "decode_summary",
    "encode_summary",
]

AFTER_CLICK_MS: Final = 7 * 24 * 3_600_000
"""A purchase is credited to the person's last click on that item in the days before it …"""

AFTER_VIEW_MS: Final = 24 * 3_600_000
"""… and without such a click to the last impression of it in this time."""

_COUNTS: Final = {"impressions": "long", "clicks": "long"}
_MONEY: Final = {"purchases": "long", "purchases_after_click": "long", "revenue": "double"}

TOTAL_COLUMNS: Final = {
    "kind": "string",
    "placement": "string",
    "model_version": "string",
    "variant": "string",
    "new": "boolean",
    **_COUNTS,
    **_MONEY,
}
"""Of a day: by kind of list (:data:`contracts.request_ids.KINDS`), and ``new`` for items that were to be explored."""

UNIT_COLUMNS: Final = {
    "experiment": "string",
    "variant": "string",
    "unit": "string",
    **_COUNTS,
    **_MONEY,
    "total_revenue": "double",
}
"""Of a day: each unit that saw something or bought something. ``total_revenue`` is all it bought, credited or not."""

ITEM_COLUMNS: Final = {"item_id": "string", **_COUNTS}
"""Of a day: how often an item was shown, and clicked."""


class ListTotals(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of list on a placement, by one model version, to one variant; ``new`` are its explored items.

    ``click_through`` is clicks, ``conversion`` purchases, and ``revenue_per_thousand`` 1,000 times the revenue, each
    over the impressions.
    """

    kind: str
    placement: str
    model_version: str
    variant: str
    new: bool
    impressions: int
    clicks: int
    purchases: int
    purchases_after_click: int
    revenue: float
    click_through: float
    conversion: float
    revenue_per_thousand: float


class AttributionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The sums over the newest days, the most shown first; ``dropped`` impressions could not be believed."""

    shop: str
    made_at: datetime
    first_day: str
    last_day: str
    lists: list[ListTotals]
    dropped: int = 0


_decode = msgspec.json.Decoder(AttributionSummary)


def encode_summary(summary: AttributionSummary) -> bytes:
    """The stored bytes."""
    return msgspec.json.encode(summary)


def decode_summary(data: bytes) -> AttributionSummary:
    """Read them.

    Raises:
        ContractError: the bytes are not such a summary.
    """
    try:
        return _decode.decode(data)
    except msgspec.MsgspecError as exc:
        message = f"the attribution's summary cannot be read: {exc}; expected the JSON that batch.attribution writes"
        raise ContractError(message) from exc
