"""An open page is told of a new shelf by itself, and costs nothing once it is closed."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from contracts.keys import alias_key
from contracts.lists import Action

pytestmark = pytest.mark.serving


def shelves(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The shelves of an event stream."""
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def ids(shelf: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in shelf["items"]]


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended may wait for its parent, or be gone already."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_new_live_list_reaches_the_open_page_with_what_it_is_based_on(shop: Any) -> None:
    shop.put_live("u.s1", ["i1"], [Action(1, "e1", "view", "i9")])
    with httpx.stream("GET", f"{shop.url}/v1/users/s1/recommendations/stream?explain=true", timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = shelves(answer.iter_lines())
        assert ids(next(seen)) == ["i1"]
        for at in (2, 3):
            shop.put_live("u.s1", [f"i{at}"], [Action(at, f"e{at}", "view", "i9")])
            shelf = next(seen)
            assert (ids(shelf), shelf["based_on"]) == ([f"i{at}"], {"occurred_at": at, "event_id": f"e{at}"})


def test_a_visitor_who_appears_and_signs_in_is_followed_on_the_same_connection(shop: Any) -> None:
    with httpx.stream("GET", f"{shop.url}/v1/visitors/s2/recommendations/stream", timeout=20) as answer:
        seen = shelves(answer.iter_lines())
        assert next(seen)["source"] == "popular"
        shop.put_live("a.s2", ["i3"])
        assert ids(next(seen)) == ["i3"]
        shop.put_live("u.s2-user", ["i4"])
        shop.put_redis(alias_key("default", "s2"), b"u.s2-user")
        assert ids(next(seen)) == ["i4"]
        shop.put_live("u.s2-user", ["i5"])
        assert ids(next(seen)) == ["i5"]


def test_closed_pages_are_forgotten(shop: Any, until: Any) -> None:
    until(lambda: shop.get("/v1/status")["streams"] == 0, "earlier streams to be forgotten")
    with httpx.stream("GET", f"{shop.url}/v1/users/s3/recommendations/stream", timeout=20) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert shop.get("/v1/status")["streams"] == 1
    until(lambda: shop.get("/v1/status")["streams"] == 0, "the closed stream to be forgotten")


def test_an_open_page_does_not_keep_the_process_from_stopping(shop: Any, start_serving: Any, until: Any) -> None:
    with start_serving(shop.settings) as leaving:
        with httpx.stream("GET", f"{leaving.url}/v1/users/s4/recommendations/stream", timeout=20) as answer:
            seen = shelves(answer.iter_lines())
            next(seen)
            process = psutil.Process(leaving.supervisor.pid("serving"))
            process.terminate()
            assert next(seen, None) is None  # the stream ends in order, no error is raised
        until(lambda: not alive(process), "the process to stop", seconds=4)
