"""What people see while Redis hangs. It is frozen and let go again; this file comes after the others."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.e2e, pytest.mark.flink]


@contextmanager
def frozen(shop: Any) -> Iterator[None]:
    """Both nodes stand still: connections stay open and nothing answers, the worst way to be away."""
    nodes = [psutil.Process(shop.stack.supervisor.pid(name)) for name in ("valkey-0", "valkey-1")]
    for node in nodes:
        node.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for node in nodes:
            node.send_signal(signal.SIGCONT)


def test_a_hung_redis_shows_the_rung_that_answers_until_it_is_back(shop: Any, visit: Callable[..., Any]) -> None:
    page, room = visit("/", faulty=True).page, visit("/control", faulty=True).page
    page.locator("#tools .who").click()
    page.get_by_label("Shop as").or_(page.get_by_label("Sign in as")).select_option("103")
    page.get_by_role("button", name="Go", exact=True).click()
    source = page.locator("#source")
    expect(source).to_have_attribute("data-source", "batch")
    expect(source).to_have_attribute("title", re.compile("Redis"))
    health = room.locator("#health li").filter(has=room.get_by_role("heading", name="Redis"))
    expect(health).to_have_class(re.compile("ok"))
    with frozen(shop):
        expect(source).to_have_attribute("title", re.compile("DynamoDB"), timeout=30_000)
        expect(source).to_contain_text("from your earlier visits")
        assert page.locator("#shelf .card[data-item]").count() > 5
        expect(page.locator("#know")).to_contain_text("cannot be read now")
        expect(health).to_have_class(re.compile("bad"), timeout=30_000)
    expect(source).to_have_attribute("title", re.compile("Redis"), timeout=30_000)
    expect(health).to_have_class(re.compile("ok"), timeout=30_000)
