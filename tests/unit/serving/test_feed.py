"""What a process follows on S3 is taken over in an order that shows nothing too early."""

import pytest

from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path, rules_path
from contracts.rules import Hide, Rules, encode_rules
from contracts.settings import Settings
from serving.feed import Feed


def test_a_process_that_has_its_catalogue_has_looked_for_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    feed = Feed(Settings())
    stored = {
        catalogue_path("default"): encode_catalogue([Item(item_id="A", title="A")]),
        rules_path("default"): encode_rules(Rules(rules=[Hide(id="recall", items=["A"])])),
    }
    ready: list[bool] = []

    def read(path: str) -> bytes | None:
        if path == rules_path("default"):
            ready.append(feed.catalogue("default").loaded_at is not None)
        return stored.get(path)

    monkeypatch.setattr(feed, "_changed", read)
    feed.refresh()
    assert ready == [False]
    assert feed.catalogue("default").loaded_at is not None
    assert feed.active("default", "shelf", 0).hidden.holds("A", "")
