"""Every Redis and DynamoDB key. Each begins with the shop id; ids come last because they may hold any character.

Redis runs in cluster mode, so no command touches two keys, and no hash tags are used: load spreads by key.
"""

__all__ = [
    "alias_key",
    "batch_key",
    "batch_row",
    "current_row",
    "item_key",
    "pointer_key",
    "popular_key",
    "popular_row",
    "rebuilt_key",
    "registry_row",
    "similar_key",
    "similar_row",
    "together_key",
    "together_row",
    "trending_key",
    "user_key",
]


def user_key(shop: str, subject: str) -> str:
    """A person's live value (:class:`contracts.lists.UserValue`): recent actions, feature buckets and live list.

    >>> user_key("default", "u.42")
    'default:user:u.42'
    """
    return f"{shop}:user:{subject}"


def item_key(shop: str, item_id: str) -> str:
    """An item's live feature buckets: a hash, field = bucket start in epoch seconds, value = comma-separated sums."""
    return f"{shop}:item:{item_id}"


def trending_key(shop: str, bucket_s: int, category: str = "") -> str:
    """A sorted set of item ids by weighted action count within one 5-minute bucket that starts at ``bucket_s``.

    Of all items, or of those of one category:

    >>> trending_key("default", 300), trending_key("default", 300, "Tea")
    ('default:trending:300', 'default:trending:300:Tea')
    """
    return f"{shop}:trending:{bucket_s}:{category}" if category else f"{shop}:trending:{bucket_s}"


def alias_key(shop: str, anonymous_id: str) -> str:
    """The subject that an anonymous visitor turned out to be, written by ``identify``."""
    return f"{shop}:alias:{anonymous_id}"


def rebuilt_key(shop: str) -> str:
    """Notes that live values were rebuilt from the lake, and from which events: ``{"since_ms": …}``, epoch ms."""
    return f"{shop}:rebuilt"


def pointer_key(shop: str) -> str:
    """Mirror of the CURRENT model version (the DynamoDB row is the authority). The one key without a TTL."""
    return f"{shop}:model:current"


def batch_key(shop: str, version: str, subject: str) -> str:
    """A person's batch recommendations of one model version."""
    return f"{shop}:batch:{version}:{subject}"


def similar_key(shop: str, version: str, item_id: str) -> str:
    """An item's most similar items of one model version."""
    return f"{shop}:similar:{version}:{item_id}"


def together_key(shop: str, version: str, item_id: str) -> str:
    """What is bought together with an item, of one model version."""
    return f"{shop}:together:{version}:{item_id}"


def popular_key(shop: str, version: str) -> str:
    """The most popular items of one model version."""
    return f"{shop}:popular:{version}"


def batch_row(shop: str, version: str, subject: str) -> str:
    """DynamoDB partition key of a person's batch recommendations.

    >>> batch_row("default", "20260101T000000Z-ab12cd", "u.42")
    'default#20260101T000000Z-ab12cd#u.42'
    """
    return f"{shop}#{version}#{subject}"


def similar_row(shop: str, version: str, item_id: str) -> str:
    """DynamoDB partition key of an item's similar items; ``i.`` keeps it apart from subjects (``u.``, ``a.``)."""
    return f"{shop}#{version}#i.{item_id}"


def together_row(shop: str, version: str, item_id: str) -> str:
    """DynamoDB partition key of what is bought together with an item; ``t.`` keeps it apart from similar items."""
    return f"{shop}#{version}#t.{item_id}"


def popular_row(shop: str, version: str) -> str:
    """DynamoDB partition key of the popular items of a version."""
    return f"{shop}#{version}#popular"


def registry_row(shop: str, version: str) -> str:
    """DynamoDB partition key of a model version's registry item."""
    return f"{shop}#registry#{version}"


def current_row(shop: str) -> str:
    """DynamoDB partition key of the pointer: the authority on which version is live."""
    return f"{shop}#CURRENT"
