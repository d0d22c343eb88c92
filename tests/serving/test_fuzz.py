"""What is malformed or hostile is refused with a reason, and leaves nothing on the stream."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks import fuzz
from benchmarks.fuzz_api import explore

pytestmark = pytest.mark.serving


def test_hostile_requests_are_refused_with_a_reason_and_leave_nothing() -> None:
    # In a process of its own: the browser of other tests holds this one's event loop.
    command = [sys.executable, "-m", "benchmarks.fuzz", "--count", "1000", "--slow", "1", "--examples", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert '"in_stream": 0' in done.stdout.splitlines()[-1] and '"status_5xx": 0' in done.stdout


@pytest.fixture(scope="module")
def target() -> Iterator[fuzz.Target]:
    """A service with API keys of its own: what is tried on it would be in the way of other tests."""
    with fuzz.running_service() as running:
        yield running


def test_no_request_made_from_the_document_is_a_5xx_and_all_answers_are_in_the_document(target: fuzz.Target) -> None:
    explored = explore(f"http://127.0.0.1:{target.port}", target.keys.admin, 12)
    assert explored.faults == []
    behind_the_door = {label for label, seen in explored.statuses.items() if seen.keys() - {401, 403, 429}}
    assert behind_the_door | {"POST /v1/session"} == explored.statuses.keys()
    changed = ("POST /v1/events", "PUT /v1/admin/rules", "POST /v1/admin/rules/dry-run")
    assert all(explored.statuses[label][200] for label in changed), "what fits the document is taken"
    assert explored.statuses["POST /v1/admin/deletions"][202]


def test_without_a_key_only_the_open_routes_answer(target: fuzz.Target) -> None:
    explored = explore(f"http://127.0.0.1:{target.port}", None, 3)
    assert explored.faults == []
    taken = {label for label, seen in explored.statuses.items() if any(status < 400 for status in seen)}
    assert taken == {"GET /healthz", "GET /readyz", "DELETE /v1/session"}
