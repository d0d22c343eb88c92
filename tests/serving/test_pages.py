"""Catalogue, pages and documents: complete, offline, and errors of one shape."""

import re
import subprocess
import sys
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.serving


def test_items_are_found_by_words_and_category_popular_ones_first(shop: Any) -> None:
    assert [i["item_id"] for i in shop.get("/v1/items", limit=2)["items"]] == ["i30", "i31"]
    assert [i["item_id"] for i in shop.get("/v1/items", query="milk OAT")["items"]] == ["milk"]
    first = shop.get("/v1/items", category="ODD", limit=15)
    rest = shop.get("/v1/items", category="ODD", limit=15, offset=15)
    assert (len(first["items"]), first["more"], len(rest["items"]), rest["more"]) == (15, True, 5, False)
    assert {i["category"] for i in first["items"] + rest["items"]} == {"ODD"}
    assert shop.get("/v1/items", query="nothing like it") == {"items": [], "more": False}


def test_an_item_is_described_and_its_neighbours_are_in_stock(shop: Any) -> None:
    assert shop.get("/v1/items/gone")["in_stock"] is False
    assert shop.get("/v1/items/a%2Fb%20c")["title"] == "Slashed"
    similar = shop.get("/v1/items/i6/similar")
    assert (similar["source"], [i["item_id"] for i in similar["items"]]) == ("similar", ["i7", "i8"])
    assert shop.get("/v1/items/i7/similar")["items"] == []


def test_categories_sample_users_and_status_describe_the_shop(shop: Any) -> None:
    assert shop.get("/v1/categories")["categories"][0] == {"category": "EVEN", "items": 20}
    assert shop.get("/v1/sample-users") == {"users": ["1", "2"]}
    status = shop.get("/v1/status")
    assert status["redis"] and status["catalogue"]["items"] == 43 and status["model"]["version"].startswith("2026")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/items/nope", 404, "unknown_item"),
        ("/v1/items/nope/similar", 404, "unknown_item"),
        ("/v1/users/1/recommendations?n=0", 400, "bad_parameter"),
        ("/v1/users/1/recommendations?n=many", 400, "bad_parameter"),
        ("/v1/users/%07/recommendations", 400, "bad_id"),
        (f"/v1/users/{'x' * 129}/recommendations", 400, "bad_id"),
        ("/v1/users/1/recommendations?shop=other", 404, "unknown_shop"),
        ("/v1/nothing", 404, "not_found"),
        ("/v1/events", 405, "method_not_allowed"),
    ],
)
def test_every_error_has_a_code_and_a_message(shop: Any, path: str, status: int, code: str) -> None:
    answer = shop.http.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]


def test_the_openapi_document_resolves_and_names_every_route(shop: Any) -> None:
    document = shop.get("/openapi.json")
    schemas = document["components"]["schemas"]
    references = set(re.findall(r"#/components/schemas/(\w+)", shop.http.get("/openapi.json").text))
    assert references <= set(schemas)
    assert {"Event", "Shelf", "EventsAnswer", "ErrorAnswer"} <= references
    assert len(document["paths"]) >= 18
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            told = operation["responses"]
            good = [told[code] for code in ("200", "201", "202") if code in told]
            assert operation["summary"] and ("204" in told or good[0]["content"]), (path, method)


@pytest.mark.parametrize("page", ["/", "/control", "/sign-in", "/docs"])
def test_a_page_and_all_its_files_come_from_this_process(shop: Any, page: str) -> None:
    html = shop.http.get(page)
    assert html.status_code == 200 and "default-src 'self'" in html.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="(?!#|/"|/docs"|data:)([^"]+)"', html.text)
    assert links and all(link.startswith("/") for link in links)
    for link in links:
        assert shop.http.get(link).status_code == 200, link


def test_serving_needs_no_engine_and_no_numerics() -> None:
    unwanted = {"numpy", "pandas", "numba", "scipy", "pyflink", "pyspark", "pyarrow", "local", "streaming", "batch"}
    code = f"import sys, serving.app; print(sorted({unwanted!r} & {{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_clear_and_a_taken_port_is_one_sentence(shop: Any) -> None:
    run = [sys.executable, "-m", "serving"]
    shown = subprocess.run([*run, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--port" in shown and "--host" in shown and "127.0.0.1" in shown
    file = str(shop.supervisor.data.parent / "application_properties.json")
    taken = [*run, "--properties", file, "--port", str(httpx.URL(shop.url).port)]
    failed = subprocess.run(taken, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1 and "cannot listen" in failed.stderr and "Traceback" not in failed.stderr
