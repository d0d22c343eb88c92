"""The control room in Chromium: live figures, rejected records, going back to an earlier model, live features."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from local.showcase import VERSIONS
from stores.streams import Stream

pytestmark = [pytest.mark.e2e, pytest.mark.flink]


def test_figures_of_the_running_job_come_by_themselves(shop: Any, visit: Callable[..., Any]) -> None:
    room = visit("/control").page
    expect(room.locator("#now .pill.good")).to_contain_text("running")
    expect(room.locator("#health li.ok")).not_to_have_count(0)
    for name in ("Redis", "DynamoDB", "Kinesis stream", "Flink job"):
        expect(room.locator("#health li.ok, #health li.warn").filter(has_text=name)).to_be_visible()
    shop_page = visit("/").page
    shop_page.locator("#grid .add").first.click()
    expect(room.locator("#now .figure").filter(has_text="Live lists").locator("b")).not_to_have_text(
        "0", timeout=60_000
    )
    expect(room.locator("#now .histogram")).to_be_visible()
    expect(room.locator("#flink")).to_have_attribute("href", shop.stack.flink.rest.url)


def test_a_rejected_record_is_shown_with_its_reason(shop: Any, visit: Callable[..., Any]) -> None:
    assert Stream.from_settings(shop.stack.settings).put([(b"not an event", "default#nobody")]) == [None]
    room = visit("/control").page
    expect(room.locator("#rejected")).to_contain_text("not json", timeout=60_000)
    sample = room.locator("#rejected .samples li").first
    expect(sample).to_contain_text("not json", timeout=90_000)
    sample.locator("summary").click()
    expect(sample.locator("pre")).to_have_text("not an event")


def test_a_rollback_is_asked_once_more_and_then_done(shop: Any, visit: Callable[..., Any]) -> None:
    room = visit("/control").page
    older, live = VERSIONS
    expect(room.locator(f"#models tr.live[data-version='{live}']")).to_be_visible()
    room.get_by_role("button", name=f"Roll back to {older}").click()
    dialog = room.get_by_role("dialog")
    expect(dialog).to_contain_text(older)
    dialog.get_by_role("button", name="Cancel").click()
    expect(room.locator(f"#models tr.live[data-version='{live}']")).to_be_visible()
    room.get_by_role("button", name=f"Roll back to {older}").click()
    room.get_by_role("dialog").get_by_role("button", name="Make it live").click()
    expect(room.locator(f"#models tr.live[data-version='{older}']")).to_be_visible(timeout=60_000)
    # The shop serves it, and one can go forward again.
    customer = visit("/").page
    expect(customer.locator("#model")).to_contain_text(older, timeout=30_000)
    room.get_by_role("button", name=f"Make live: {live}").click()
    room.get_by_role("dialog").get_by_role("button", name="Make it live").click()
    expect(room.locator(f"#models tr.live[data-version='{live}']")).to_be_visible(timeout=60_000)


def test_the_rankers_coefficients_come_with_their_errors(visit: Callable[..., Any]) -> None:
    room = visit("/control").page
    row = room.locator("#ranker tbody tr").first
    expect(row.locator("td").nth(0)).to_have_text("0.432")
    expect(row.locator("td").nth(1)).to_have_text("0.0110")
    expect(row.locator("td").nth(2)).to_have_text("39.3")
    room.get_by_label("Version", exact=True).select_option(VERSIONS[0])
    expect(row.locator("td").nth(0)).to_have_text("0.420")


def test_the_feature_browser_shows_an_item_as_it_is_now(visit: Callable[..., Any]) -> None:
    page = visit("/").page
    page.get_by_role("searchbox", name="Search products").fill("gelato")
    page.locator("#grid .card[data-item='213'] .add").click()
    room = visit("/control").page
    room.get_by_label("Of", exact=True).select_option("item")
    room.get_by_role("textbox", name="Id").fill("213")
    room.get_by_role("button", name="Look up").click()
    carts = room.locator("#features tr").filter(has_text="carts")
    expect(carts.locator("td").nth(1)).to_have_text("1", timeout=60_000)
