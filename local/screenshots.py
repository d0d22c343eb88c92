"""``python -m local.screenshots``: pictures of both pages as they are now, taken of a running demo, into ``docs/``.

A new visitor looks at a few products and puts some in the cart, so that the shelf is a live one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from contracts.errors import LocalStackError
from local import browser
from local.paths import checkout

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["SHOTS", "Shot", "main"]

_DESK: Final = {"width": 1360, "height": 940}
_PHONE: Final = {"width": 390, "height": 844}
_PATIENCE_MS: Final = 60_000
_LOOK: Final = ["coffee", "cheese", "strawberries", "yogurt"]


class Shot(NamedTuple):
    """One picture: ``page`` is shop, product, cart or control."""

    page: str
    scheme: str
    phone: bool

    @property
    def name(self) -> str:
        """The file's name.

        >>> Shot("shop", "dark", True).name
        'shop-phone-dark.png'
        """
        return f"{self.page}-{'phone' if self.phone else 'desk'}-{self.scheme}.png"


_BOTH: Final = [(phone, scheme) for phone in (False, True) for scheme in ("light", "dark")]
SHOTS: Final = (
    *(Shot(page, scheme, phone) for page in ("shop", "control") for phone, scheme in _BOTH),
    Shot("product", "light", False),
    Shot("cart", "dark", True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Take all pictures; exit code 1 with a sentence where the shop does not answer."""
    parser = argparse.ArgumentParser(prog="python -m local.screenshots", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the running shop (default: %(default)s)")
    parser.add_argument("--sign-in", default="", help="the address that the demo prints behind: sign in as admin")
    parser.add_argument("--into", type=Path, default=checkout() / "docs" / "pages", help="folder (default: docs/pages)")
    parser.add_argument("--only", nargs="*", default=[], help="names of pictures to take (default: all)")
    parser.add_argument(
        "--look", nargs="*", default=["coffee", "cheese", "strawberries", "yogurt"], help="words to search for"
    )
    parser.add_argument("--minutes", type=float, default=0.5, help="how long the control room is watched first")
    given = parser.parse_args(argv)
    given.into.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import Error

    try:
        with browser.running() as started:
            for shot in (shot for shot in SHOTS if not given.only or shot.name in given.only):
                _take(started, shot, given)
                print(f"screenshots: {given.into / shot.name}", flush=True)
    except (LocalStackError, Error) as exc:
        print(f"screenshots: {exc}; is `make demo` running, and is {given.url} its address?", file=sys.stderr)
        return 1
    return 0


def _take(started: "Browser", shot: Shot, given: Any) -> None:
    context = started.new_context(
        viewport=_PHONE if shot.phone else _DESK,  # type: ignore[arg-type]
        color_scheme=shot.scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        locale="en-US",
    )
    try:
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        if shot.page == "control":
            _watch(page, given)
        else:
            _visit(page, given)
        if shot.page == "product":
            page.locator("#shelf .cover").first.click()
            page.wait_for_selector("#product .strip")
            page.wait_for_timeout(3000)
        elif shot.page == "cart":
            page.locator(".cart").click()
            page.wait_for_selector("#basket .strip")
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=str(given.into / shot.name))
    finally:
        context.close()


def _visit(page: "Page", given: Any) -> None:
    from playwright.sync_api import expect  # waits without eval, which the pages' policy forbids

    page.goto(given.url)
    search = page.get_by_role("searchbox", name="Search products")
    for number, word in enumerate(given.look):
        search.fill(word)
        expect(page.locator("#products-title")).to_contain_text(word, timeout=_PATIENCE_MS)
        page.locator("#grid .cover").first.click()
        page.wait_for_selector("#product[open]")
        page.keyboard.press("Escape")
        expect(page.locator("#fresh-last")).not_to_have_text("–", timeout=_PATIENCE_MS)
        if number < 2:
            page.locator("#grid .add").nth(1).click()
    search.fill("")
    page.wait_for_selector("#shelf .reason b")
    page.wait_for_timeout(6000)  # the panel of what is known, and badges of what is new, come to rest
    page.evaluate("scrollTo(0, 0)")


def _watch(page: "Page", given: Any) -> None:
    key = given.sign_in.partition("#")[2]
    page.goto(f"{given.url}/sign-in?next=/control#{key}" if key else f"{given.url}/control")
    page.wait_for_selector("#models tbody tr")
    page.wait_for_timeout(given.minutes * 60_000)
    page.evaluate("scrollTo(0, 0)")


if __name__ == "__main__":
    sys.exit(main())
