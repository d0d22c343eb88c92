"""What tests of several parts need."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.snapshot import Manifest, ModelSettings

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
