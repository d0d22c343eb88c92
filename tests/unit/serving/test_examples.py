"""Every example in the docstrings of serving is true."""

import doctest
import importlib
from importlib.resources import files

import pytest

MODULES = sorted(
    f.name.removesuffix(".py") for f in files("serving").iterdir() if f.name.endswith(".py") and f.name[0] != "_"
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"serving.{name}")).failed == 0
