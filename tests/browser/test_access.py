"""Both pages for everybody: no serious finding of axe, in light and dark, on a phone and on a desk."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from local import libraries

pytestmark = [pytest.mark.e2e, pytest.mark.flink]

PHONE = {"width": 390, "height": 844}


def findings(page: Page) -> list[str]:
    """What axe calls serious or critical, with the first place of each."""
    page.add_script_tag(path=str(libraries.modules() / "axe-core" / "axe.min.js"))
    found = page.evaluate("async () => (await axe.run()).violations")
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['help']}: {node['html'][:160]}" for one in grave for node in one["nodes"][:2]]


def settled(page: Page) -> None:
    """Nothing moves any more: colours are judged as they stay."""
    page.evaluate(
        """() => Promise.all(document.getAnimations()
          .filter((one) => one.effect.getTiming().iterations !== Infinity)
          .map((one) => one.finished.catch(() => 0)))"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_storefront_and_its_sheets_have_no_serious_finding(visit: Callable[..., Any], scheme: str) -> None:
    page = visit("/", color_scheme=scheme, reduced_motion="reduce", bypass_csp=True).page
    page.locator("#grid .card .add").nth(1).click()
    expect(page.locator("#know .acts")).to_be_visible(timeout=60_000)
    settled(page)
    assert findings(page) == []
    page.locator("#grid .cover").first.click()
    expect(page.locator("#product .strip").first).to_be_visible()
    settled(page)
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Cart, 1 item").click()
    expect(page.locator("#basket .lines li")).to_have_count(1)
    settled(page)
    assert findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_control_room_has_no_serious_finding(visit: Callable[..., Any], scheme: str) -> None:
    page = visit("/control", color_scheme=scheme, reduced_motion="reduce", bypass_csp=True).page
    expect(page.locator("#models tbody tr")).to_have_count(2)
    expect(page.locator("#health li")).not_to_have_count(0)
    expect(page.locator("#now .uplot")).to_have_count(2)
    settled(page)
    assert findings(page) == []


@pytest.mark.parametrize("path", ["/", "/control"])
def test_a_phone_scrolls_in_one_direction_only(visit: Callable[..., Any], path: str) -> None:
    page = visit(path).page
    page.set_viewport_size(PHONE)
    expect(page.locator("h1, h2").first).to_be_visible()
    expect(page.locator(".card[data-item], #models tbody tr")).not_to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
