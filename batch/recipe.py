"""How a model is made: every number of the formulas, as one frozen value that travels in the manifest."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec

from batch.rules import BotRule, CheckRule, GateRule
from contracts.errors import SettingsError
from contracts.snapshot import ModelSettings

__all__ = ["ListRecipe", "MomentRecipe", "Recipe", "SolveRecipe", "WindowRecipe", "read_recipe"]

_BESIDE: Final = ("settings_digest", "holdout_days", "until")
"""What a manifest's ``training`` holds beside the settings."""

Number = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class MomentRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What the day partitions depend on: changing any of these makes the stored moments of no use.

    With X the unit × item indicator and len the distinct items of a unit, ``W_G = len^-gram_exponent`` and
    ``W_C = len^-cross_exponent``. ``ordered`` keeps T, the sum over ordered pairs ``i`` before ``j`` of
    ``exp(−(gap−1)/tau)`` (the reverse direction times ``both``); it is only worth its space where the order inside a
    unit says something, so not for baskets. ``longest`` bounds a unit (the newest actions stay): a robot's session of
    n items would bring n² pairs. ``late_days`` is how many days after an event its record may still arrive.
    """

    gram_exponent: Number = 0.3
    cross_exponent: Number = 0.3
    ordered: bool = False
    tau: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    both: Number = 0.3
    longest: Annotated[int, msgspec.Meta(ge=2)] = 300
    late_days: Annotated[int, msgspec.Meta(ge=0)] = 1
    bots: BotRule = BotRule()


class WindowRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How much older days count: a day's sums weigh ``2^(−age / half_life_d)``, and 1 at half-life 0 (no decay)."""

    half_life_d: Number = 0.0


class SolveRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """From summed moments to B, in the signs of the formulas.

    ``a`` weighs co-occurrence against order (T needs ``a`` < 1). ``l0 + l1·g_i`` is the ridge, with ``g_i = G_ii``
    (``ridge_by="gram"``) or the number of units with the item (``"units"``). M = ``candidates``, chosen by
    ``C_ij / (G_ii + l0)^selectivity``. ``popularity`` is g of ``B[:, j] · n_j^(−g)``; K = ``keep`` entries a row. Items
    in fewer than ``min_units`` units stay out.

    The diagonal of B: ``own`` > 0 lets an item be a candidate of its own, its weight times ``own`` (people look at a
    thing again), see :func:`batch.solve.solve_targets`; ``satiation`` > 0 sets it below zero (what was just bought is
    not wanted now), see :func:`batch.solve.satiate`. ``hop`` is ρ of the second hop through the ``hop_width`` strongest
    entries of a row, 0 for none, see :func:`batch.solve.second_hop`.
    """

    a: Share = 1.0
    l0: Annotated[float, msgspec.Meta(gt=0)] = 40.0
    l1: Number = 0.5
    ridge_by: Literal["gram", "units"] = "units"
    selectivity: Number = 0.5
    candidates: Count = 150
    popularity: Number = 0.1
    keep: Count = 100
    min_units: Count = 5
    own: Number = 0.0
    satiation: Number = 3.0
    hop: Number = 0.0
    hop_width: Count = 20


class ListRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """A person's batch list, see :func:`batch.lists.person_lists`.

    ``repeat_half_life_d`` and ``taste_half_life_d`` are in days; ``taste`` weighs what B makes of the whole history
    against the person's own repeats.
    """

    repeat_half_life_d: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    taste_half_life_d: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    taste: Number = 0.1


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. The defaults were chosen on weeks of the default data before its last four.

    >>> Recipe().with_options(["solve.keep=20", "model.decay=5"]).solve.keep
    20
    """

    moments: MomentRecipe = MomentRecipe()
    window: WindowRecipe = WindowRecipe()
    solve: SolveRecipe = SolveRecipe()
    lists: ListRecipe = ListRecipe()
    model: ModelSettings = ModelSettings(history=20, decay=5.0, blend=1.5)
    gate: GateRule = GateRule()
    checks: CheckRule = CheckRule()

    def with_options(self, options: list[str]) -> Self:
        """A copy with ``group.name=value`` set; the value is JSON, or a bare word.

        Raises:
            SettingsError: the name is unknown or the value does not fit; the message lists the names of the group.
        """
        data = msgspec.to_builtins(self)
        for option in options:
            path, _, text = option.partition("=")
            group, _, name = path.partition(".")
            if group not in data or name not in data[group]:
                known = ", ".join(f"{g}.{n}" for g in data for n in data[g])
                message = f"option {option!r} names nothing; expected group.name=value with one of {known}"
                raise SettingsError(message)
            try:
                data[group][name] = msgspec.json.decode(text.encode())
            except msgspec.DecodeError:
                data[group][name] = text
        try:
            return msgspec.convert(data, type(self))
        except msgspec.ValidationError as exc:
            message = f"options {options} do not make a recipe: {exc}"
            raise SettingsError(message) from exc

    def plain(self) -> dict[str, Any]:
        """All values as JSON types, as the manifest's ``training`` holds them."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return values

    def json(self) -> str:
        """All values as indented JSON, with the names that :meth:`with_options` takes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    @property
    def model_digest(self) -> str:
        """SHA-256 (hex) of what decides over the candidates of a request: not of gate, checks and θ.

        >>> Recipe().model_digest == Recipe().with_options(["model.theta=3", "gate.margin=0.5"]).model_digest
        True
        """
        data = msgspec.to_builtins(self)
        data["model"] = data["model"] | {"theta": 0.0}
        parts = [data[group] for group in ("moments", "window", "solve", "lists", "model")]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all values; equal recipes have equal digests.

        >>> Recipe().digest == Recipe().with_options([]).digest
        True
        """
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def read_recipe(path: Path) -> Recipe:
    """Settings from a JSON file: a whole recipe, some groups of it, or a manifest, whose ``training`` is one.

    Raises:
        SettingsError: it cannot be read, or names something that is no setting.
    """
    try:
        found = msgspec.json.decode(path.read_bytes())
        data = found.get("training", found)
        known = msgspec.to_builtins(Recipe())
        extra = [name for name in data if name not in known and name not in _BESIDE]
        extra += [f"{group}.{name}" for group in known for name in data.get(group, {}) if name not in known[group]]
        if extra:
            message = f"{path} names {', '.join(extra)}; expected only settings that --show-settings prints"
            raise SettingsError(message)
        merged = {group: known[group] | data.get(group, {}) for group in known}
        return msgspec.convert(merged, Recipe)
    except (OSError, AttributeError, TypeError, msgspec.MsgspecError) as exc:
        message = f"{path} cannot be read as settings: {exc}; expected JSON as --show-settings prints it"
        raise SettingsError(message) from exc
