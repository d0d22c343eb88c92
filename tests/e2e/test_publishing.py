"""Publishing in real processes against real stores: killed where it hurts, two at a time, and taken back."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch.activate import read_manifest
from batch.models import main
from contracts.lake import model_prefix
from contracts.lists import decode_list
from contracts.snapshot import Snapshot
from local.health import wait_until

pytestmark = pytest.mark.e2e

Start = Callable[[str, str], subprocess.Popen[str]]


@pytest.fixture
def start(place: Any) -> Iterator[Start]:
    """Starts a publishing process: ``start(shop, version)``."""
    started: list[subprocess.Popen[str]] = []

    def begin(shop: str, version: str) -> subprocess.Popen[str]:
        program = Path(__file__).with_name("publish_once.py")
        command = [sys.executable, str(program), str(place.proxied), shop, version]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        with process:
            process.kill()


def assert_whole(place: Any, shop: str, version: str, folder: Path) -> None:
    """A version that readers are sent to has every file as its manifest says, and every list in both stores."""
    manifest = read_manifest(place.stores.objects, shop, version)
    place.stores.objects.download_folder(model_prefix(shop, version), ["manifest.json", *manifest.files], folder)
    assert Snapshot.open(folder, verify=True).version == version
    keys = place.keys(shop, version)
    rows = [row and row[1] for row in place.stores.tables.rows([row for row, _ in keys])]
    assert rows == place.stores.cluster.get_many([key for _, key in keys])
    for data in rows:
        assert data is not None
        found = decode_list(data)
        assert (found.model_version, found.items[0]) == (version, version)


def lists(request: Any) -> bool:
    return bool(request.target == "BatchWriteItem")


def snapshot(request: Any) -> bool:
    return request.method == "PUT" and "/models/v2/" in request.path


def indices(request: Any) -> bool:
    return request.method == "PUT" and request.path.endswith("/models/v2/indices.npy")


def current(request: Any) -> bool:
    return request.target == "PutItem" and b"#CURRENT" in request.body


def in_s3(request: Any) -> bool:
    return request.method == "PUT" and request.path.endswith("/models/current.json")


@pytest.mark.parametrize(
    ("matches", "options", "live"),
    [
        pytest.param(lists, {"nth": 2}, ["v1", "v1", "v1"], id="during the lists"),
        pytest.param(snapshot, {}, ["v1", "v1", "v1"], id="after the lists, before the snapshot"),
        pytest.param(indices, {}, ["v1", "v1", "v1"], id="during the upload of the snapshot"),
        pytest.param(current, {}, ["v1", "v1", "v1"], id="after the snapshot, before CURRENT"),
        pytest.param(current, {"answered": True}, ["v2", "v1", "v1"], id="after CURRENT, whose answer was lost"),
        pytest.param(in_s3, {}, ["v2", "v1", "v1"], id="after CURRENT, before the mirrors"),
        pytest.param(in_s3, {"answered": True}, ["v2", "v2", "v1"], id="between the two mirrors"),
    ],
)
def test_killed_at_a_point_what_is_live_is_whole_and_a_rerun_finishes(
    place: Any,
    shop: str,
    start: Start,
    hold: Any,
    tmp_path: Path,
    matches: Callable[[Any], bool],
    options: dict[str, Any],
    live: list[str],
) -> None:
    with place.proxy.holding(hold(matches, **options)) as held:
        process = start(shop, "v2")
        assert held.reached(), process.communicate()
        process.kill()
        assert process.wait() == -9
    assert place.pointers(shop) == live
    for version in {"v1", *live}:  # the old lists stay readable too
        assert_whole(place, shop, version, tmp_path / version)

    rerun = start(shop, "v3")
    assert rerun.wait(120) == 0, rerun.communicate()
    assert place.pointers(shop) == ["v3", "v3", "v3"]
    for version in {*live, "v3"}:
        assert_whole(place, shop, version, tmp_path / f"{version}-after")


def test_of_two_runs_at_once_one_publishes_and_the_other_is_told(
    place: Any, shop: str, start: Start, hold: Any, tmp_path: Path
) -> None:
    with place.proxy.holding(hold(current)) as held:
        runs = {version: start(shop, version) for version in ("v2", "v3")}
        names = [f'"S": "{version}"'.encode() for version in runs]

        def both() -> bool:
            return all(any(name in request.body for request in held.caught) for name in names)

        wait_until(both, "both runs before their switch", seconds=120)
        held.end(forward=True)
        codes = {version: process.wait(120) for version, process in runs.items()}
    assert sorted(codes.values()) == [0, 1]
    (winner,) = (version for version, code in codes.items() if code == 0)
    (loser,) = set(codes) - {winner}
    assert f"conflict: {loser} was not made current" in runs[loser].communicate()[1]
    assert place.pointers(shop) == [winner] * 3
    assert_whole(place, shop, winner, tmp_path)


def test_a_command_sets_right_what_a_killed_run_left_behind(
    place: Any,
    shop: str,
    start: Start,
    hold: Any,
    models: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with place.proxy.holding(hold(in_s3)) as held:
        process = start(shop, "v2")
        assert held.reached()
        process.kill()
    assert main(["list", "--shop", shop, "--properties", str(place.direct)]) == 0
    said = capsys.readouterr().out
    assert "NOT IN STEP: S3 says v1, Redis says v1; run python -m batch.models activate v2" in said
    assert models("activate", "v2")["before"] == "v2"
    assert models("list")["mirrors"]["in_step"] is True
    assert place.pointers(shop) == ["v2", "v2", "v2"]


def test_a_rollback_while_a_run_publishes_is_not_undone_by_it(
    place: Any,
    shop: str,
    start: Start,
    hold: Any,
    models: Callable[..., Any],
) -> None:
    place.publish(shop, "v2")
    with place.proxy.holding(hold(current)) as held:
        process = start(shop, "v3")
        assert held.reached()
        models("activate", "--previous")
        held.end(forward=True)
        assert process.wait(120) == 1
    assert "expected v2 to be live, found v1" in process.communicate()[1]
    assert place.pointers(shop) == ["v1", "v1", "v1"]
