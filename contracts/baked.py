"""What a deployment carries along for the day when no store answers: its popular items, and the rules about them."""

import gzip
from datetime import datetime
from typing import Final

import msgspec

from contracts.errors import ContractError
from contracts.items import Item
from contracts.rules import NO_RULES, Rules

__all__ = ["Baked", "baked_name", "decode_baked", "encode_baked"]

MOST_ITEMS: Final = 200


class Baked(msgspec.Struct, frozen=True, kw_only=True):
    """Popular items of a model version that were in stock at ``made_at``, best first, and the rules of that time."""

    shop_id: str
    model_version: str
    made_at: datetime
    items: list[Item]
    rules: Rules = NO_RULES


_decoder = msgspec.json.Decoder(Baked)


def baked_name(shop: str) -> str:
    """The file of a shop, in the deployment's folder.

    >>> baked_name("default")
    'popular-default.json.gz'
    """
    return f"popular-{shop}.json.gz"


def encode_baked(baked: Baked) -> bytes:
    """The file's content; the same items give the same bytes."""
    return gzip.compress(msgspec.json.encode(baked), 6, mtime=0)


def decode_baked(data: bytes) -> Baked:
    """Read it.

    Raises:
        ContractError: it is no such file.
    """
    try:
        return _decoder.decode(gzip.decompress(data))
    except (OSError, EOFError, msgspec.MsgspecError) as exc:
        message = f"the popular items of the deployment cannot be read: {exc}; make them again: python -m serving.bake"
        raise ContractError(message) from exc
