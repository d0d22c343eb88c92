"""``python -m batch.plan_experiment``: how many people an experiment needs, and how long it takes."""

import argparse
import math
import sys
from collections.abc import Sequence

from batch.arguments import whole_number
from batch.experiment_statistics import needed_units, power

__all__ = ["main", "plan"]

_DESCRIPTION = """\
How many people each variant needs, so that a relative change of the metric is found; and with the people of a day, how
many days that takes. For one look at the end; the sequential test may be looked at earlier and then usually ends
sooner, where the change is larger than planned."""

_EPILOG = """\
examples:
  python -m batch.plan_experiment --rate 0.05 --effect 0.1               a conversion of 5 %, 10 % better
  python -m batch.plan_experiment --mean 3.2 --sd 14 --effect 0.05       revenue by person
  python -m batch.plan_experiment --rate 0.05 --effect 0.1 --people-a-day 4000 --share 0.5"""


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        message = f"{text!r} is not a number above 0"
        raise argparse.ArgumentTypeError(message)
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch.plan_experiment",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--rate", type=_positive, help="share of people of whom it is true, as conversion: 0 to 1")
    what.add_argument("--mean", type=_positive, help="mean by person, as revenue; needs --sd")
    add = parser.add_argument
    add("--sd", type=_positive, help="standard deviation between people, for --mean")
    add("--effect", type=_positive, required=True, help="relative change worth finding: 0.1 is 10 %%")
    add("--variants", type=whole_number, default=2, help="of equal weight, control included (default: %(default)s)")
    add("--alpha", type=_positive, default=0.05, help="false positives (default: %(default)s)")
    add("--power", type=_positive, default=0.8, help="chance to find the change (default: %(default)s)")
    add("--people-a-day", type=whole_number, help="new people a day, to say how many days")
    add("--share", type=_positive, default=1.0, help="the experiment's share of them (default: %(default)s)")
    return parser


def plan(unit_variance: float, effect: float, variants: int, alpha: float, wanted: float, a_day: float) -> list[str]:
    """The plan in lines; ``effect`` in the unit of the metric, ``a_day`` people of the experiment (0: not known).

    >>> for line in plan(0.05 * 0.95, 0.005, 2, 0.05, 0.8, 2000): print(line)
    29,826 people for each of 2 variants, 59,652 in all, to find 0.005 with power 0.80 at 5.0 %
    30 days at 2,000 people a day
    with half of them the power is 0.51, with twice as many 0.98
    """
    units = needed_units(unit_variance, effect, alpha, wanted)
    total = units * variants
    lines = [
        f"{units:,} people for each of {variants} variants, {total:,} in all, "
        f"to find {effect:.4g} with power {wanted:.2f} at {alpha:.1%}".replace("%", " %")
    ]
    if a_day:
        lines.append(f"{math.ceil(total / a_day):,} days at {a_day:,.0f} people a day")
    half, twice = (power(max(2, int(units * times)), unit_variance, effect, alpha) for times in (0.5, 2))
    return [*lines, f"with half of them the power is {half:.2f}, with twice as many {twice:.2f}"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.rate is not None and given.rate >= 1:
        parser.error(f"--rate is {given.rate}; expected a share below 1")
    if given.mean is not None and given.sd is None:
        parser.error("--mean needs --sd, the standard deviation between people")
    if not (0 < given.alpha < 1 and 0 < given.power < 1 and given.variants >= 2):
        parser.error("expected --alpha and --power between 0 and 1, and 2 --variants or more")
    variance = given.rate * (1 - given.rate) if given.rate is not None else given.sd**2
    effect = given.effect * (given.rate or given.mean)
    a_day = (given.people_a_day or 0) * given.share
    print("\n".join(plan(variance, effect, given.variants, given.alpha, given.power, a_day)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
