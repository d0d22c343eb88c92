"""The tracker in a real Chromium, against the real collector: nothing before consent, and nothing lost after it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route

from serving.tracker import SERVED, SOURCE, squeezed

pytestmark = pytest.mark.serving
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture
def visitor(browser: Browser, shop: Any) -> Iterator[BrowserContext]:
    """A browser without a past that knows one page of the shop, with the tracker on it."""
    with browser.new_context() as context:
        context.set_default_timeout(20_000)
        context.route(
            f"{shop.url}/page*",
            lambda route: route.fulfill(
                content_type="text/html", body='<script src="/static/tracker.js" data-shop="default"></script>'
            ),
        )
        yield context


@pytest.fixture
def page(visitor: BrowserContext, shop: Any) -> Page:
    opened = visitor.new_page()
    opened.goto(f"{shop.url}/page")
    return opened


def state(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.evaluate("localStorage.liveshelf || '{}'"))
    return found


def waiting(page: Page) -> list[dict[str, Any]]:
    return list(state(page).get("queue", []))


@pytest.fixture
def arrived(shop: Any, until: Callable[..., None]) -> Callable[..., list[dict[str, Any]]]:
    """The events on the stream of one item, each once, as soon as there are so many."""

    def wait(item: str, count: int) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}

        def enough() -> bool:
            found.update({r["event_id"]: r for r in shop.records() if r.get("item_id") == item})
            return len(found) >= count

        until(enough, f"{count} events of {item}")
        return list(found.values())

    return wait


def test_what_is_served_is_made_of_its_source_and_has_2_kilobytes_at_most(shop: Any) -> None:
    served = shop.http.get("/static/tracker.js").content
    assert served == SERVED.read_bytes() == (squeezed(SOURCE.read_text()) + "\n").encode(), (
        "run: python -m serving.tracker"
    )
    assert len(served) <= 2048


def test_before_consent_nothing_is_stored_or_sent_and_afterwards_both_end_with_it(page: Page, arrived: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("liveshelf.track('view', 'early'); liveshelf.identify('7'); liveshelf.shown({}, ['early'])")
    page.reload()
    assert page.evaluate("Object.keys(localStorage).length") == 0
    assert page.context.cookies() == []
    page.evaluate("liveshelf.consent(true); liveshelf.track('view', 'willing')")
    (event,) = arrived("willing", 1)
    assert _UUID.fullmatch(event["event_id"]) and _UUID.fullmatch(event["anonymous_id"])
    page.evaluate(
        "liveshelf.track('view', 'withdrawn'); liveshelf.consent(false); liveshelf.track('view', 'withdrawn')"
    )
    assert page.evaluate("Object.keys(localStorage).length") == 0
    page.evaluate("liveshelf.consent(true); liveshelf.track('view', 'again')")
    (again,) = arrived("again", 1)
    assert again["anonymous_id"] != event["anonymous_id"], "who withdrew and came back is somebody else"
    assert waiting(page) == []  # asking the page also lets what it did be told here
    assert sum("/v1/events" in url for url in asked) == 2


def test_a_visitor_stays_the_same_until_the_login_and_is_a_new_one_after_the_logout(page: Page, arrived: Any) -> None:
    page.evaluate("liveshelf.consent(true); liveshelf.track('view', 'login')")
    page.reload()
    page.evaluate("liveshelf.track('view', 'login'); liveshelf.identify('ann'); liveshelf.identify('ann')")
    page.evaluate("liveshelf.track('purchase', 'login', { price: 2.5, quantity: 2 })")
    events = sorted(arrived("login", 3), key=lambda event: str(event["occurred_at"]))
    assert events[0]["anonymous_id"] == events[1]["anonymous_id"]
    assert (events[2]["user_id"], events[2].get("anonymous_id"), events[2]["price"]) == ("ann", None, 2.5)
    page.evaluate("liveshelf.identify(null); liveshelf.track('view', 'logout')")
    (after,) = arrived("logout", 1)
    assert after.get("user_id") is None and after["anonymous_id"] != events[0]["anonymous_id"]


def test_a_login_tells_who_the_visitor_was_once(page: Page, shop: Any, until: Any) -> None:
    page.evaluate("liveshelf.consent(true)")
    before = state(page)["anonymous"]
    page.evaluate("liveshelf.identify('bob'); liveshelf.identify('bob')")
    until(lambda: state(page)["queue"] == [], "the login to be sent")
    logins = [event for event in shop.records() if event["event_type"] == "identify" and event["user_id"] == "bob"]
    assert [login["anonymous_id"] for login in logins] == [before]


def test_what_was_shown_and_clicked_names_request_place_and_variant(page: Page, arrived: Any) -> None:
    page.evaluate("liveshelf.consent(true); liveshelf.shown({ request_id: 'r1', variant: 'b' }, ['s1', 's2'])")
    page.evaluate("liveshelf.track('click', 's2', { request_id: 'r1', position: 1, variant: 'b' })")
    shown, clicked = sorted(arrived("s2", 2), key=lambda event: str(event["event_type"]), reverse=True)
    assert [e["event_type"] for e in (shown, clicked)] == ["impression", "click"]
    for event in (shown, clicked):
        assert (event["request_id"], event["position"], event["variant"]) == ("r1", 1, "b")
    assert arrived("s1", 1)[0]["position"] == 0


def test_offline_the_newest_200_wait_and_arrive_in_batches_once_the_line_is_back(page: Page, arrived: Any) -> None:
    bodies: list[int] = []
    page.on("request", lambda r: bodies.append(len(json.loads(r.post_data or "[]"))) if r.method == "POST" else None)
    page.evaluate("liveshelf.consent(true)")
    page.context.set_offline(True)
    page.evaluate("for (let n = 0; n < 230; n++) liveshelf.track('view', 'off', { position: n })")
    assert [event["position"] for event in waiting(page)] == list(range(30, 230))
    page.context.set_offline(False)
    events = arrived("off", 200)
    assert waiting(page) == []
    assert sorted(event["position"] for event in events) == list(range(30, 230))
    assert bodies == [50, 50, 50, 50]


def test_what_the_collector_could_not_take_is_sent_again_as_it_was(page: Page, arrived: Any, until: Any) -> None:
    answers: list[Callable[[Route], None]] = [
        lambda route: route.abort(),
        lambda route: route.fulfill(status=429, json={"error": {"code": "overloaded", "message": ""}}),
        lambda route: route.fulfill(
            status=503,
            json={"results": [{"event_id": "x", "status": "accepted"}, {"event_id": "y", "status": "failed"}]},
        ),
        lambda route: route.continue_(),
    ]
    page.route("**/v1/events", lambda route: answers.pop(0)(route))
    page.evaluate("liveshelf.consent(true); liveshelf.track('view', 'taken'); liveshelf.track('view', 'left')")
    ids = [event["event_id"] for event in waiting(page)]
    until(lambda: waiting(page) == [], "the queue to be empty", seconds=30)
    assert answers == []
    assert [event["event_id"] for event in arrived("left", 1)] == ids[1:]


def test_events_that_the_contract_refuses_do_not_stop_the_others(page: Page, arrived: Any, until: Any) -> None:
    page.evaluate("liveshelf.consent(true); liveshelf.track('wave', 'odd'); liveshelf.track('view', 'even')")
    arrived("even", 1)
    until(lambda: waiting(page) == [], "the queue to be empty")


def test_a_page_that_is_left_at_once_loses_no_event_and_its_repetition_has_the_same_id(
    page: Page, shop: Any, arrived: Any, until: Any
) -> None:
    page.evaluate("liveshelf.consent(true)")
    page.evaluate("liveshelf.track('view', 'left at once'); location.href = '/page?2'")
    page.wait_for_url("**/page?2")
    arrived("left at once", 1)
    until(lambda: waiting(page) == [], "the next page to send what nobody had confirmed")
    assert len(arrived("left at once", 1)) == 1


def test_what_a_beacon_took_along_is_not_repeated_once_that_would_count_twice(page: Page, until: Any) -> None:
    page.context.set_offline(True)
    page.evaluate("liveshelf.consent(true); liveshelf.track('view', 'old'); liveshelf.track('view', 'new')")
    page.evaluate(
        "const s = JSON.parse(localStorage.liveshelf); s.queue[0].gone = Date.now() - 31 * 60e3;"
        "localStorage.liveshelf = JSON.stringify(s)"
    )
    sent: list[str] = []
    page.on("request", lambda r: sent.extend(e["item_id"] for e in json.loads(r.post_data or "[]")))
    page.context.set_offline(False)
    until(lambda: page.evaluate("1") == 1 and sent != [], "the rest to be sent")
    assert sent == ["new"]
