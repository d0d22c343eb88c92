"""What is malformed or hostile is refused with a reason, and leaves nothing on the stream."""

import pytest

from benchmarks import fuzz

pytestmark = pytest.mark.serving


def test_hostile_requests_are_refused_with_a_reason_and_leave_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status = fuzz.main(["--count", "1000", "--slow", "1"])
    told = capsys.readouterr()
    assert status == 0, told.err
    assert '"in_stream": 0' in told.out.splitlines()[-1] and '"status_5xx": 0' in told.out
