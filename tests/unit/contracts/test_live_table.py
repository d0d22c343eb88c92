"""The page on features says what the definitions say."""

from pathlib import Path

from contracts.features import ITEM_FEATURES, USER_FEATURES
from contracts.live import FEATURES, item_features, user_features
from contracts.live_table import table

PAGE = Path(__file__).parents[3] / "docs" / "features.md"


def test_the_page_holds_the_table_of_the_registry() -> None:
    assert table() in PAGE.read_text(), "docs/features.md needs what python -m contracts.live_table prints"


def test_every_feature_is_told_once_in_full() -> None:
    names = [(feature.entity, column) for feature in FEATURES for column in feature.columns]
    assert len(set(names)) == len(names)
    assert all(feature.meaning and feature.unit and feature.span for feature in FEATURES)


def test_the_registry_names_exactly_what_is_computed_in_that_order() -> None:
    computed = {"user": list(user_features({}, [], {}, {}, 0)), "item": list(item_features({}, 0))}
    for entity, names in computed.items():
        assert [column for f in FEATURES if f.entity == entity for column in f.columns] == names


def test_what_is_stored_keeps_its_place() -> None:
    """Values lie in Redis and in savepoints by their place: new ones go to the end."""
    assert [f.name for f in ITEM_FEATURES][:5] == ["views", "carts", "purchases", "revenue", "last_purchase"]
    users = ["views", "carts", "purchases", "spend", "cart_removals", "first", "last"]
    assert [f.name for f in USER_FEATURES][:7] == users
