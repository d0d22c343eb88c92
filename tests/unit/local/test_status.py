"""The status line's rate: right however Flink's figures arrive."""

from local.status import Status


def rates(steps: list[tuple[float, float]]) -> list[float]:
    """The rate after each (time, counter)."""
    now = [0.0]
    status = Status(None, lambda: "", clock=lambda: now[0])  # type: ignore[arg-type]
    found = []
    for at, counted in steps:
        now[0] = at
        found.append(status._rate(counted))
    return found


def test_a_steady_stream_shows_its_rate_though_figures_come_in_steps() -> None:
    steps = [(5.0 * i, 20.0 * 10 * (5 * i // 10)) for i in range(20)]  # Flink's figures move every ten seconds
    assert all(15 <= rate <= 27 for rate in rates(steps)[8:])


def test_a_restarted_job_begins_anew_and_is_never_negative() -> None:
    assert rates([(0, 900), (5, 1000), (10, 50), (15, 150)]) == [0.0, 20.0, 0.0, 20.0]
