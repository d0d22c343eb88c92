"""A recipe is one value: settable by name, refused clearly, and digested whole."""

from typing import Any

import msgspec
import pytest

from batch.opponent import recipe_of
from batch.recipe import Recipe
from contracts.errors import SettingsError


def test_options_set_what_they_name_and_nothing_else() -> None:
    recipe = Recipe().with_options(["solve.l0=60", "solve.ridge_by=gram", "moments.ordered=true"])
    expected = msgspec.to_builtins(Recipe())
    expected["solve"] |= {"l0": 60.0, "ridge_by": "gram"}
    expected["moments"]["ordered"] = True
    assert msgspec.to_builtins(recipe) == expected


def test_the_event_weights_are_replaced_as_a_whole() -> None:
    assert Recipe().with_options(['model.event_weights={"purchase":2}']).model.event_weights == {"purchase": 2.0}


@pytest.mark.parametrize("option", ["solve.lambda=3", "nope.l0=3", "l0=3", "solve", "", "=", "solve.l0.x=1"])
def test_an_unknown_name_is_refused_with_the_names_there_are(option: str) -> None:
    with pytest.raises(SettingsError, match=r"expected group.name=value with one of moments.gram_exponent.*solve.l0"):
        Recipe().with_options([option])


@pytest.mark.parametrize("option", ["solve.keep=many", "solve.keep=1.5", "solve.l0=", "solve.ridge_by=size"])
def test_a_value_that_does_not_fit_is_refused_with_its_name(option: str) -> None:
    name = option.partition("=")[0]
    with pytest.raises(SettingsError, match=rf"do not make a recipe: .*\$\.{name}"):
        Recipe().with_options([option])


def test_any_change_changes_the_digest_and_the_json_gives_the_recipe_back() -> None:
    changes = [[], ["moments.tau=3"], ["solve.l0=21"], ["lists.taste=0.2"], ["model.decay=6"]]
    assert len({Recipe().with_options(change).digest for change in changes}) == len(changes)
    changed = Recipe().with_options(["solve.l0=21"])
    assert msgspec.json.decode(changed.json(), type=Recipe) == changed


def test_a_live_model_is_read_by_its_settings_and_those_it_does_not_know_are_as_here(make_manifest: Any) -> None:
    old = make_manifest(training={"solve": {"l0": 7.0}, "settings_digest": "x", "of_long_ago": 1})
    assert recipe_of(old) == Recipe().with_options(["solve.l0=7"])


def test_a_live_model_of_settings_that_are_none_is_told_with_the_way_out(make_manifest: Any) -> None:
    with pytest.raises(SettingsError, match=r"solve\.l0.*batch.models activate --previous"):
        recipe_of(make_manifest(training={"solve": {"l0": -1.0}}))
