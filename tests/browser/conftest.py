"""One showcase for all browser tests: emulator, Valkey, the real Flink job, the serving process, and Chromium."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect

from contracts.errors import LocalStackError
from local import browser, libraries, showcase
from local.stack import Stack

expect.set_options(timeout=30_000)  # what is to come comes in a blink, but not while a loaded machine starts Flink


@dataclass
class Shop:
    """The running showcase."""

    stack: Stack
    url: str


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    try:
        browser.ensure()
    except LocalStackError as exc:
        pytest.skip(f"no browser on this machine: {exc}")
    with browser.running() as started:
        yield started


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Shop]:
    libraries.ensure()
    with Stack(lambda _: None, tmp_path_factory.mktemp("showcase") / "data") as stack:
        stack.fetch_jars()
        stack.start_stores()
        showcase.seed(stack.settings)
        stack.start_flink(port=None)
        stack.submit()
        yield Shop(stack, stack.start_serving(port=None))


@dataclass
class Visit:
    """One open page, and all that went wrong in it."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def heard(self, message: ConsoleMessage) -> None:
        # A loaded machine may miss a deadline: the API says so by 503, and the page asks again (or a test would fail).
        if message.type in ("error", "warning") and "status of 503" not in message.text:
            self.faults.append(f"{message.type}: {message.text}")

    def answered(self, response: Response) -> None:
        if response.status >= 400 and response.status != 503:
            self.faults.append(f"{response.status} {response.url}")


@pytest.fixture
def visit(chromium: Browser, shop: Shop) -> Iterator[Callable[..., Visit]]:
    """Opens a page in a fresh profile; at the end of the test nothing may have gone wrong in it, unless it was told."""
    opened: list[tuple[BrowserContext, Visit, bool]] = []

    def go(path: str, *, faulty: bool = False, **options: Any) -> Visit:
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(30_000)
        visit = Visit(context.new_page())
        visit.page.on("console", visit.heard)
        visit.page.on("pageerror", lambda error: visit.faults.append(str(error)))
        visit.page.on("response", visit.answered)
        opened.append((context, visit, faulty))
        visit.page.goto(shop.url + path)
        return visit

    yield go
    faults = [fault for _, visit, faulty in opened if not faulty for fault in visit.faults]
    for context, _, _ in opened:
        context.close()
    assert faults == []
