"""The thresholds by which people, days and candidates are judged: part of the recipe, fixed beforehand."""

import msgspec

__all__ = ["BotRule", "CheckRule", "GateRule"]


class BotRule(msgspec.Struct, frozen=True, kw_only=True):
    """When a person's UTC day counts as a program's. Either is enough:

    * more actions than ``times_median`` times the (lower) median of the day's people, but never under ``always_fine``
      and never over ``never_fine`` (an action every three seconds for eight hours). The median stays a customer's as
      long as most visitors are customers, where a high percentile of a small shop would be the bot's own count; and it
      lifts the limit in a shop whose customers buy by the hundred lines.
    * actions in more than ``most_in_ten_minutes`` different seconds of any ten minutes: one every two seconds without a
      pause. Seconds and not actions, because the lines of one basket share a second.

    On the default data (2,469 households, a year) the busiest day of anybody has 183 actions, so the limits are five
    times what the best customer does. Impressions do not count: a page shows many at once.
    """

    always_fine: int = 1000
    times_median: float = 100.0
    never_fine: int = 10_000
    most_in_ten_minutes: int = 300


class CheckRule(msgspec.Struct, frozen=True, kw_only=True):
    """What is odd. A day is compared with the same weekday of the ``weeks`` before it.

    ``least_share``: odd below this share of the median (above its inverse only a warning), where that is also more than
    ``deviations`` spreads away. The spread, of logarithms, is the median absolute deviation of the reference from its
    weekdays' medians, at least ``noise``, with the counting error 1/√units added. Median and MAD, because a holiday
    among the reference must not move it. Below ``least_weeks`` of a weekday all days count; below one week, or where
    less than ``least_units`` units are expected, a day is not judged.

    ``bad_warn``, ``bad_refuse``: share of records that are malformed, or came too late. ``duplicates_warn``: share of
    repeated event ids; harmless but dear. ``bots_refuse``: share of the day's actions that bots did. ``top_warn``,
    ``top_refuse``: share of one item, or of one person, in the actions. A share must also be three times its median in
    the reference, so that a shop that always has it is not told so every day.

    ``grace_minutes`` after midnight a day counts as complete: the buffers before the lake are then written.
    """

    weeks: int = 8
    least_weeks: int = 3
    least_units: int = 20
    least_share: float = 0.7
    deviations: float = 3.0
    noise: float = 0.05
    bad_warn: float = 0.02
    bad_refuse: float = 0.1
    duplicates_warn: float = 0.2
    bots_refuse: float = 0.2
    top_warn: float = 0.2
    top_refuse: float = 0.5
    grace_minutes: int = 30


class GateRule(msgspec.Struct, frozen=True, kw_only=True):
    """The thresholds of :func:`decide`.

    ``metrics``: which figures of the live list are judged; the first one alone measures the lead over popularity.
    ``least_cases``: below, the figures decide nothing. ``margin``: a relative loss up to this is not worth keeping an
    older model for, however sure it is. ``least_lead``: the lead over popularity, of one day or of all, must not be
    surely below this share of the usual one. ``least_day_cases``: days with fewer cases are not looked at alone.
    ``day_level``: how sure "surely" is for one day; higher than the 95 % elsewhere, because a week has seven.
    """

    metrics: tuple[str, ...] = ("HR@20", "NDCG@20")
    least_cases: int = 200
    margin: float = 0.01
    least_lead: float = 0.5
    least_day_cases: int = 50
    day_level: float = 0.99
