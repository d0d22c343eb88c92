"""What tests of several parts need."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from contracts.snapshot import Manifest, ModelSettings

# Always the same examples, and no limit on speed: a machine may have other work.
settings.register_profile("seeded", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("seeded")

_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def make_manifest() -> Callable[..., Manifest]:
    """Makes manifests: the smallest valid one, with what is passed by name in its place."""

    def make(**fields: Any) -> Manifest:
        least: dict[str, Any] = {
            "shop_id": "default",
            "version": "v1",
            "parent": None,
            "trained_at": _DAY,
            "window_start": _DAY,
            "window_end": _DAY,
            "model": ModelSettings(),
            "training": {},
            "feature_names": [],
            "coefficients": [],
            "metrics": {},
            "rows": {},
        }
        return Manifest(**least | fields)

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[int]:
    """The port of a real PostgreSQL server that lets in everybody on this machine; each test takes its own schema."""
    from local.postgres import running_postgres

    with running_postgres() as port:
        yield port
