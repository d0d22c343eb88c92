"""A bundle starts no thread and waits for none; one that began before is ended as Beam ends it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory

from streaming.unsampled import stop_sampling


@pytest.fixture
def beam() -> Iterator[Any]:
    """Beam as it was loaded, before and after."""
    was = statesampler.StateSampler.start, statesampler.StateSampler.stop
    yield statesampler.StateSampler
    statesampler.StateSampler.start, statesampler.StateSampler.stop = was


def test_a_bundle_has_no_thread_of_its_own_and_the_next_can_begin(beam: Any) -> None:
    assert stop_sampling() and stop_sampling()
    sampler, before = beam("fn", CounterFactory()), threading.active_count()
    for _ in range(3):  # as Beam's bundle processor does
        sampler.reset()
        sampler.start()
        assert threading.active_count() == before
        assert statesampler.get_current_tracker() is sampler
        with sampler.scoped_state("step", "process"):
            assert sampler.get_info().state_name.name == "process-msecs"
        sampler.stop_if_still_running()
        sampler.stop_if_still_running()
        assert statesampler.get_current_tracker() is None


def test_a_bundle_that_began_before_is_ended_as_it_was_begun(beam: Any) -> None:
    sampler, before = beam("fn", CounterFactory()), threading.active_count()
    sampler.start()
    assert threading.active_count() == before + 1  # else there would be nothing to leave out
    assert stop_sampling()
    sampler.stop_if_still_running()
    assert threading.active_count() == before
    sampler.reset()
    sampler.start()
    assert threading.active_count() == before
    sampler.stop_if_still_running()


def test_another_beam_is_left_as_it_is(beam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(statesampler, "set_current_tracker")
    was = beam.start
    assert not stop_sampling()
    assert beam.start is was
