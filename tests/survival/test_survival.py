"""Whatever fails, nothing is lost, nothing is counted twice, and every value is right again within seconds.

Each scenario of the benchmark once, on one stack. They run in the order of the table: the last one ends the job.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.survival_rounds import run_round
from benchmarks.survival_scenarios import SCENARIOS
from benchmarks.survival_stand import Stand, running_stand

pytestmark = [pytest.mark.e2e, pytest.mark.flink]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    data: Path = tmp_path_factory.mktemp("survival") / "data"
    with running_stand(list(SCENARIOS), lambda _: None, data) as running:
        yield running


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_nothing_is_lost_or_counted_twice_and_every_value_is_right_after(
    stand: Stand, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_round(stand, SCENARIOS[name], 1)
    with capsys.disabled():
        print(f"\n  {name}: {outcome.sent:,} records, recovered in {outcome.recover_s:.1f} s", end=" ")
    assert outcome.wrong == ()
    assert outcome.sent == outcome.lake == outcome.accounted > 0
    assert outcome.doubled == outcome.window_drops == outcome.mismatches == 0
