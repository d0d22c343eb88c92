"""One round of one survival scenario: traffic, fault, recovery, and then every account is compared."""

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.survival_expected import differences, expect
from benchmarks.survival_scenarios import Scenario
from benchmarks.survival_stand import Sender, Stand
from benchmarks.survival_traffic import Traffic
from contracts.lake import EVENTS_PREFIX, dataset_prefix
from contracts.snapshot import ModelSettings
from local.probe_accounts import REJECTED_SHOP, Ledger, LedgerReader
from local.replay import Account, new_run

__all__ = ["Outcome", "mismatches_of", "run_round", "settle", "unsettled"]

_SETTLE_SECONDS: Final = 90
_DEAD_LETTERS: Final = dataset_prefix(REJECTED_SHOP, "dead-letter")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a round found; ``sent``, ``lake`` and ``accounted`` are numbers of distinct ids, broken records included.

    ``doubled`` counts what was counted or rejected more than once, ``window_drops`` rows that came too late for their
    window, ``mismatches`` values that are not what a recomputation gives, ``recover_s`` the seconds until a new event
    had its effect in Redis; ``wrong`` says what is not right.
    """

    scenario: str
    round: int
    sent: int
    lake: int
    accounted: int
    doubled: int
    window_drops: int
    mismatches: int
    recover_s: float
    wrong: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def plain(self) -> dict[str, Any]:
        """As in a RESULT."""
        return asdict(self)


def run_round(stand: Stand, scenario: Scenario, number: int) -> Outcome:
    """Run a scenario once; takes up to a minute and a half.

    Raises:
        LocalStackError: the stack did not come back.
    """
    run = new_run()
    traffic, account = Traffic(run, scenario.name, scenario.mix, seed=number), Account(run)
    ignored = [path for prefix in (EVENTS_PREFIX, _DEAD_LETTERS) for path in stand.objects.list(prefix)]
    reader = LedgerReader(stand.objects, run, scenario.name, ignore=ignored)
    stand.drops.await_look()
    drops = stand.drops.total()
    recover_s = _suffer(stand, scenario, traffic, account)
    wrong = settle(reader, account)
    if scenario.after is not None:
        scenario.after(stand, traffic, account)
        wrong = settle(reader, account)
    mismatches = mismatches_of(stand, traffic)
    stand.drops.await_look()
    stand.sent.setdefault(scenario.name, []).extend(traffic.all_events)
    if scenario.last is not None:
        mismatches += scenario.last(stand)
    doubled, dropped = doubled_in(reader.ledger), stand.drops.total() - drops
    wrong += [f"{doubled} records were counted more than once"] if doubled else []
    wrong += [f"{dropped} rows were dropped by windows"] if dropped else []
    found = reader.ledger
    return Outcome(
        scenario=scenario.name,
        round=number,
        sent=len(account.events) + len(account.malformed),
        lake=len(found.lake) + len(found.lake_malformed),
        accounted=len(found.counted) + len(found.rejected),
        doubled=doubled,
        window_drops=dropped,
        mismatches=len(mismatches),
        recover_s=round(recover_s, 2),
        wrong=(*wrong, *mismatches),
    )


def _suffer(stand: Stand, scenario: Scenario, traffic: Traffic, account: Account) -> float:
    """Send the traffic, and let the fault happen in the midst of it; the seconds to recover."""
    sender = Sender(stand, traffic, account, scenario.seconds)
    sender.start()
    if not scenario.quiet:
        stand.await_checkpoint()  # so that there is state to come back to, and there are events behind it
        stand.drops.look()  # the next attempt of the job counts from 0
    sender.go_on()
    since = scenario.act(stand)
    seconds = stand.recovered(traffic, account, since)
    sender.end()
    stand.await_reaped()
    return seconds


def settle(reader: LedgerReader, account: Account) -> list[str]:
    """Wait until everything arrived in the lake and at the sinks; what is still missing, or never was sent."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while wrong := unsettled(account, reader.read()):
        if time.monotonic() > deadline:
            return wrong
        time.sleep(0.5)
    return []


def unsettled(account: Account, ledger: Ledger) -> list[str]:
    """A sentence for each pair of sets of ids that are not equal.

    A broken record has a dead letter for each of its copies in the lake.
    """
    pairs = {
        "valid events in the lake": (account.events, set(ledger.lake)),
        "events counted by Flink": (account.events, set(ledger.counted)),
        "broken records in the lake": (account.malformed, set(ledger.lake_malformed)),
        "dead letters": (account.malformed, set(ledger.rejected)),
    }
    told = [
        f"{what}: {len(sent - found)} of {len(sent)} are missing {sorted(sent - found)[:3]}, "
        f"{len(found - sent)} were never sent {sorted(found - sent)[:3]}"
        for what, (sent, found) in pairs.items()
        if sent != found
    ]
    if not told and ledger.lake_malformed != ledger.rejected:
        copies, letters = ledger.lake_malformed.total(), ledger.rejected.total()
        told.append(f"{copies} copies of broken records are in the lake, but {letters} dead letters")
    return told


def doubled_in(ledger: Ledger) -> int:
    """Events that were counted again, and dead letters of one place on the stream."""
    counted = sum(count - 1 for count in ledger.counted.values())
    return counted + ledger.rejected.total() - len(ledger.places)


def mismatches_of(stand: Stand, traffic: Traffic) -> list[str]:
    """What Redis holds against a recomputation from the events sent.

    The serving step writes before a row of its log can be in S3, so whatever is counted by now is in Redis as well.
    """
    expected = expect(traffic.all_events)
    users, items = stand.users(traffic.shop, list(expected.users)), stand.items(traffic.shop)
    wrong = differences(expected, users, items, 2 * ModelSettings().history)
    for subject, actions in expected.actions.items():
        value, newest = users[subject], actions[-1]
        live = value.live if value else None
        if live is None or live.based_on is None or live.based_on.event_id != newest.event_id:
            wrong.append(f"{subject}: the list is based on {live and live.based_on}, expected {newest.event_id}")
    return wrong
