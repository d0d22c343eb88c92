"""``make bench-survival ROUNDS=10``: everything that can fail does, again and again, and nothing is lost or doubled.

A round is every scenario once, one after another on one running stack behind a proxy that fails on demand. After each:
the sets of event ids sent, in the lake, and accounted for by Flink are equal, nothing was counted twice, no window
dropped a row, every feature and history in Redis is what a recomputation gives, and the time to recover is printed.
A RESULT line ends each round, and one of all rounds the command. With --resume an interrupted run goes on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.report import finish, machine, result_line
from benchmarks.survival_rounds import Outcome, run_round
from benchmarks.survival_scenarios import SCENARIOS
from benchmarks.survival_stand import running_stand
from benchmarks.survival_state import Progress
from contracts.errors import LiveshelfError
from deploy.stream_settings import stream_settings
from local.paths import cache_dir

__all__ = ["main"]

_NOT_RECOVERED: Final = -1.0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 when every round of every scenario passed, 1 when one did not, 2 when it could not run."""
    given = _arguments(argv)
    settings, about = stream_settings().groups(), machine()
    measured = json.loads(result_line({}, machine=about, settings=settings).removeprefix("RESULT "))
    stamp = f"commit {measured['commit']}, settings {measured['settings_digest']}"
    try:
        progress = Progress.begin(cache_dir() / "survival.json", stamp, resume=given.resume)
        if progress.rounds:
            print(f"survival: {len(progress.rounds)} outcomes of {stamp} are there already: going on", flush=True)
        for number in range(given.first, given.rounds + 1):
            while names := progress.left(given.only, number):
                _run(progress, names, number)
            figures = _figures([outcome for outcome in progress.rounds if outcome["round"] == number])
            print(result_line(figures, machine=about, settings=settings), flush=True)
    except LiveshelfError as exc:
        print(f"survival: {exc}", file=sys.stderr)
        return 2
    asked = [outcome for outcome in progress.rounds if given.first <= outcome["round"] <= given.rounds]
    figures, repeats = _figures(asked), given.rounds - given.first + 1
    if given.only == list(SCENARIOS):
        finish("bench-survival", figures, machine=about, settings=settings, repeats=repeats)
    else:  # a part of it is no result to keep
        print(result_line(figures, machine=about, settings=settings, repeats=repeats), flush=True)
    return 1 if figures["failed"] else 0


def _run(progress: Progress, names: Sequence[str], number: int) -> None:
    """Scenarios of one round on one stack; after one that the stack did not survive, return, for a new stack."""
    print(f"survival: round {number}: {', '.join(names)}", flush=True)
    data = cache_dir() / "survival"  # logs stay there until the next run
    with running_stand(names, lambda text: print(f"survival: {text.strip()}", flush=True), data) as stand:
        for name in names:
            try:
                outcome = run_round(stand, SCENARIOS[name], number)
            except LiveshelfError as exc:
                outcome = _broken(name, number, exc)
            _tell(outcome)
            progress.add(outcome.plain())
            if outcome.recover_s == _NOT_RECOVERED:
                return


def _broken(name: str, number: int, cause: Exception) -> Outcome:
    counts = dict.fromkeys(("sent", "lake", "accounted", "doubled", "window_drops", "mismatches"), 0)
    return Outcome(scenario=name, round=number, recover_s=_NOT_RECOVERED, wrong=(str(cause),), **counts)


def _tell(outcome: Outcome) -> None:
    verdict = "passed" if outcome.passed else "FAILED"
    print(
        f"survival: {outcome.scenario:<14} round {outcome.round}: {verdict}; sent {outcome.sent:,}, lake "
        f"{outcome.lake:,}, accounted {outcome.accounted:,}, doubled {outcome.doubled}, window drops "
        f"{outcome.window_drops}, mismatches {outcome.mismatches}; recovered in {outcome.recover_s:.1f} s",
        flush=True,
    )
    for sentence in outcome.wrong[:10]:
        print(f"survival:   {sentence}", flush=True)


def _figures(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Outcomes with the slowest recovery of each scenario, and the number that failed."""
    slowest: dict[str, float] = {}
    for outcome in rounds:
        slowest[outcome["scenario"]] = max(outcome["recover_s"], slowest.get(outcome["scenario"], _NOT_RECOVERED))
    return {
        "rounds": list(rounds),
        "failed": sum(bool(outcome["wrong"]) for outcome in rounds),
        "slowest_recover_s": slowest,
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.survival", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often each scenario runs (default: 1)")
    parser.add_argument("--first", type=int, default=1, help="begin with this round: the others run somewhere else")
    parser.add_argument(
        "--only", type=_scenarios, default=list(SCENARIOS), metavar="NAMES", help=f"of {','.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an interrupted run of this commit and these settings, if there is one",
    )
    given = parser.parse_args(argv)
    if not 1 <= given.first <= given.rounds:
        parser.error(f"--first is {given.first}; expected a round from 1 to --rounds, which is {given.rounds}")
    return given


def _scenarios(text: str) -> list[str]:
    asked = text.split(",")
    if unknown := [name for name in asked if name not in SCENARIOS]:
        msg = f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}"
        raise argparse.ArgumentTypeError(msg)
    return [name for name in SCENARIOS if name in asked]


if __name__ == "__main__":
    sys.exit(main())
