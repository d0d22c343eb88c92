"""The cost page: in step with the script, and formulas that move as the services' bills do."""

import itertools
import re
from dataclasses import replace

import pytest

from contracts.settings import Settings
from deploy.cdk.alarms import service_watches, watches
from deploy.cdk.names import Names
from deploy.cdk.profiles import PROFILES
from deploy.cost import PAGE, page, prices
from deploy.cost_model import ALARM_METRICS, HOURS, Assumptions, Traffic, kpus, personalize, product, shards

GIVEN = Assumptions()
USD = {name: float(entry["usd"]) for name, entry in prices()["prices"].items()}
SMALL, LARGE = PROFILES["small"], PROFILES["large"]


def test_the_page_is_what_the_script_prints() -> None:
    assert PAGE.read_text() == page(prices(), GIVEN), "run `make cost ARGS=--write`"


def test_alarms_are_counted_by_the_figures_that_they_look_at() -> None:
    found = [*watches(Names("p"), LARGE, "api"), *service_watches(Names("p"), "balancer")]
    assert sum(len(watch.figures) or 1 for watch in found) == ALARM_METRICS


def test_every_price_has_a_unit_a_source_of_aws_and_says_whether_it_was_seen() -> None:
    for name, entry in prices()["prices"].items():
        assert set(entry) == {"usd", "unit", "source", "seen"}, name
        assert entry["usd"] > 0
        assert re.match(r"https://aws\.amazon\.com/.*pricing/", entry["source"]), name
        if entry["seen"] is not None:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["seen"]["date"]), name
            assert entry["seen"]["where"]


def test_every_price_is_used() -> None:
    asked: set[str] = set()

    class Watched(dict[str, float]):
        def __getitem__(self, name: str) -> float:
            asked.add(name)
            return super().__getitem__(name)

    watched = Watched(USD)
    for profile in PROFILES.values():
        for variant in (profile, replace(profile, shards=3, stream_hours=48)):
            product(variant, Traffic(50, 10), watched, GIVEN)
    personalize(Traffic(50, 10), watched, GIVEN)
    assert set(USD) - asked == {"aurora_acu_hour", "aurora_gb_month"}  # the page's text uses them


def test_the_assumptions_are_the_products_defaults() -> None:
    training = Settings().training
    assert GIVEN.list_days * 86_400 == training.list_ttl_s
    assert GIVEN.redis_list_days * 86_400 == training.redis_list_ttl_s


def test_shards_and_kpus_hold_the_peak() -> None:
    peak = Traffic(2_000, 1)
    assert shards(SMALL, peak, GIVEN) == 6  # 6,000 records a second
    assert shards(SMALL, peak, replace(GIVEN, event_bytes=2_000)) == 12  # 12 MB a second
    assert kpus(SMALL, peak, GIVEN) == 3 + 1
    assert kpus(SMALL, Traffic(1, 1), GIVEN) == 2 + 1  # never less than the profile's


def test_a_small_record_is_billed_as_5_kb_by_firehose() -> None:
    tiny, five = (product(SMALL, Traffic(10, 1), USD, replace(GIVEN, event_bytes=size)) for size in (50, 5 * 1024))
    assert tiny["Firehose"] == five["Firehose"] == pytest.approx(10 * 3600 * HOURS * 5120 / 1e9 * 0.029)


def test_the_cache_is_never_billed_above_its_limit_nor_below_its_floor() -> None:
    held = [
        product(replace(SMALL, cache_gb=limit), Traffic(rate, 0), USD, replace(GIVEN, ecpu_an_event=0))["ElastiCache"]
        for limit, rate in ((10, 1_000_000), (10, 1e-9))
    ]
    publishing = (GIVEN.people_most + GIVEN.items_most) * 2 * GIVEN.list_bytes / 1024 * HOURS / 24 / 1e6
    assert held[0] == pytest.approx(10 * HOURS * 0.084 + publishing * 0.0023)
    assert held[1] == pytest.approx(0.1 * HOURS * 0.084, rel=0.05)


def test_more_traffic_never_costs_less() -> None:
    for profile in PROFILES.values():
        bills = [product(profile, Traffic(rate, rate / 5), USD, GIVEN) for rate in (1, 10, 100, 1_000, 10_000)]
        for less, more in itertools.pairwise(bills):
            assert all(more[part] >= less[part] - 1e-9 for part in less)


def test_an_hourly_training_writes_all_lists_25_times_a_day() -> None:
    daily, hourly = (product(replace(SMALL, hourly=each), Traffic(50, 10), USD, GIVEN) for each in (False, True))
    assert hourly["DynamoDB"] == pytest.approx(25 * daily["DynamoDB"])
    assert hourly["EMR"] > daily["EMR"]


def test_personalize_is_paid_for_a_request_a_second_even_without_any() -> None:
    assert personalize(Traffic(0, 0), USD, GIVEN) == {
        "data": 0.0,
        "training": 0.0,
        "requests": pytest.approx(3600 * HOURS / 1000 * 0.15),
    }
