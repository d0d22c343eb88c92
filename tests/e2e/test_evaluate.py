"""``make evaluate``: the real trainer on an own log, without a running demo, leaving nothing behind."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local.guardian import MARKER
from local.paths import cache_dir

pytestmark = [pytest.mark.e2e, pytest.mark.spark]


def write_log(path: Path) -> None:
    """Twenty days of visits of five products, each person's within one of ten groups: what goes together is obvious."""
    draw = random.Random(5)
    rows = ["visitorid,timestamp,event,itemid"]
    for visit in range(600):
        group, began = visit % 10, 1_760_000_000_000 + visit * 20 * 86_400_000 // 600
        for place, item in enumerate(draw.sample(range(12), 5)):
            rows.append(f"v{visit % 120},{began + 30_000 * place},view,g{group}-{item}")
    path.write_text("\n".join([*rows, "v1,not a time,view,g1-1"]) + "\n")


def test_a_log_is_measured_without_a_running_demo_and_nothing_stays(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "jars").symlink_to(cache_dir() / "jars")  # fetched once for all runs
    env = {**os.environ, "LIVESHELF_DATA": str(tmp_path / "data" / "run"), "LIVESHELF_CACHE": str(cache)}
    command = [sys.executable, "-m", "local.evaluate", str(tmp_path / "log.csv"), "--train=--set"]
    done = subprocess.run([*command, "--train=solve.min_units=1"], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.rsplit("EVALUATED ", 1)[1])
    assert told["log"]["rejected"] == {"bad_time": 1}
    assert told["log"]["events"] == 3000
    assert told["until"] == "2025-10-29"
    metrics = told["trained"]["metrics"]
    assert metrics["live"]["HR@20"] > 0.8 > 0.6 > metrics["popularity"]["HR@20"]
    assert told["trained"]["published"] is False
    assert "line 3,002: bad_time: the time is 'not a time'" in done.stdout
    assert "times as often as the best sellers" in done.stdout
    assert not [process for process in psutil.process_iter() if carries(process, str(tmp_path))]


def carries(process: psutil.Process, folder: str) -> bool:
    """Whether a process belongs to a run in the folder."""
    try:
        return MARKER in (env := process.environ()) and folder in env.get("LIVESHELF_DATA", "")
    except psutil.Error:
        return False
