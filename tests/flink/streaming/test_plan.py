"""The plan of the job, read from EXPLAIN: what runs once must be planned once."""

import json
import os
import re
import subprocess
import sys

import pytest

from contracts.settings import ENVIRONMENT_VARIABLE, Settings, to_properties
from local import toolchain

pytestmark = pytest.mark.flink

EXPLAIN = """
from contracts.settings import load
from streaming.job import build, environment
print(build(environment(load()), load()).explain())
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The optimised execution plan, made in a process of its own because a JVM gateway outlives its tests."""
    properties = tmp_path_factory.mktemp("plan") / "application_properties.json"
    properties.write_text(json.dumps(to_properties(Settings(aws_endpoint="http://127.0.0.1:1"))))
    env = os.environ | {
        ENVIRONMENT_VARIABLE: str(properties),
        "JAVA_HOME": str(toolchain.java_home()),
        "HADOOP_CLASSPATH": ":".join(str(jar) for jar in toolchain.jars().flink_lib),
    }
    done = subprocess.run(
        [sys.executable, "-c", EXPLAIN], env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.partition("== Optimized Execution Plan ==")[2]


def test_the_stream_is_read_once_and_each_record_parsed_once(plan: str) -> None:
    assert plan.count("TableSourceScan(") == 1


def test_the_serving_step_that_writes_is_called_once(plan: str) -> None:
    assert len(re.findall(r"PythonCalc\(.*serve\(", plan)) == 1


def test_duplicates_are_dropped_by_the_append_only_form_before_anything_counts(plan: str) -> None:
    assert plan.count("Deduplicate(keep=[FirstRow], key=[shop_id, event_id], order=[PROCTIME])") == 1
    assert "ChangelogNormalize" not in plan


def test_every_sink_hangs_on_the_one_source(plan: str) -> None:
    sinks = re.findall(r"Sink\(table=\[default_catalog\.default_database\.(\w+)\]", plan)
    assert sorted(sinks) == ["dead_letter", "item_features", "served", "user_features"]
