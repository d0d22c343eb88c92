"""The storefront in Chromium: clicks become events, and the shelf follows without a reload."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.e2e, pytest.mark.flink]

SHELF = "#shelf .card[data-item]"


def shelf(page: Page) -> list[str]:
    return page.locator(SHELF).evaluate_all("cards => cards.map(card => card.dataset.item)")


def view(page: Page, item: str) -> None:
    """Open a product of the grid and close it again, with the keyboard's Escape."""
    page.locator(f"#grid .card[data-item='{item}'] .cover").click()
    expect(page.locator("#product")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#product")).to_be_hidden()


def search(page: Page, words: str) -> None:
    page.get_by_role("searchbox", name="Search products").fill(words)
    expect(page.locator("#products-title")).to_contain_text(words)


def test_a_view_changes_the_shelf_without_a_reload_and_says_why(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    expect(page.locator("#source")).to_have_attribute("data-source", re.compile("popular|trending"))
    before = shelf(page)
    page.evaluate("window.sameDocument = true")
    search(page, "salmon")
    view(page, "190")
    expect(page.locator("#source")).to_have_attribute("data-source", "live", timeout=60_000)
    expect(page.locator(f"{SHELF} .reason").first).to_contain_text("because you viewed Salmon Fillet")
    assert shelf(page) != before and page.evaluate("window.sameDocument") is True
    expect(page.locator("#fresh-last")).to_have_text(re.compile(r"\d+"))
    expect(page.locator("#know")).to_contain_text("viewed Salmon Fillet")
    expect(page.locator("#know .bars")).to_contain_text("Seafood")


def test_what_was_bought_disappears_unless_it_is_bought_again_as_a_matter_of_course(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    search(page, "cookware")
    view(page, "k2")
    kettle = page.locator(f"{SHELF}[data-item=k5]")
    expect(kettle).to_be_visible(timeout=60_000)
    kettle.locator(".cover").click()
    page.get_by_role("button", name="Buy now").click()
    expect(page.locator("#toast")).to_contain_text("Bought")
    expect(kettle).to_have_count(0)
    expect(page.locator("#know")).to_contain_text("bought Tea Kettle")


def test_a_product_tells_what_is_bought_with_it_and_what_is_like_it(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    search(page, "pesto")
    page.locator("#grid .card[data-item='171'] .cover").click()
    lists = page.locator("#product .strip")
    expect(lists).to_have_count(2)
    assert "Pasta Sauce" not in lists.nth(0).inner_text()
    expect(page.locator("#product")).to_contain_text("Bought together")
    expect(lists.nth(1)).to_contain_text("Tomato Sauce")


def test_a_cart_is_filled_changed_and_bought(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    search(page, "sauce")
    page.locator("#grid .card[data-item='171'] .add").click()
    page.locator("#grid .card[data-item='172'] .add").click()
    expect(page.get_by_role("button", name="Cart, 2 items")).to_be_visible()
    page.get_by_role("button", name="Cart, 2 items").click()
    basket = page.locator("#basket")
    expect(basket.locator(".total")).to_contain_text("$")
    expect(basket.get_by_text("Goes with your cart", exact=True)).to_be_visible()
    basket.get_by_role("button", name="One less of Basil Pesto").click()
    expect(basket.locator(".lines li")).to_have_count(1)
    basket.get_by_role("button", name="Buy all").click()
    expect(basket).to_be_hidden()
    expect(page.get_by_role("button", name="Cart, 0 items")).to_be_visible()


def test_a_visitor_signs_in_and_takes_along_what_they_did(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    search(page, "kiwi")
    view(page, "143")
    expect(page.locator("#know")).to_contain_text("viewed Kiwi", timeout=60_000)
    page.locator("#tools .who").click()
    page.get_by_label("Sign in as").select_option("105")
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page.locator("#tools .who")).to_contain_text("Customer 105")
    expect(page.locator("#know")).to_contain_text("viewed Kiwi", timeout=30_000)


def test_the_shop_can_be_used_by_keyboard_alone(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    expect(page.locator(SHELF).first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the products")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('cover')"):
            break
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(page.locator("#product-title")).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page.locator("#product")).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == name


def test_an_unknown_word_and_an_empty_cart_are_told_kindly(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    search(page, "zebra")
    expect(page.locator("#products .empty")).to_contain_text("No product matches")
    page.get_by_role("button", name="Cart, 0 items").click()
    expect(page.locator("#basket")).to_contain_text("Your cart is empty")
