"""The execution plan keeps its promises: one source, one parse, one serving call, names for people, uids for state."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from contracts.settings import ENVIRONMENT_VARIABLE, Settings, StreamingSettings, to_properties
from local import toolchain

pytestmark = pytest.mark.flink

SHOW = """
import json
from contracts.settings import load
from streaming.job import build, environment, graph
tables = environment(load())
statements = build(tables, load())
plan = statements.explain()
shown = graph(tables, statements)
nodes = list(shown.getStreamNodes().toArray())
uids = {str(node.getId()): node.getTransformationUID() for node in nodes}
python = []
for node in nodes:
    if "Python" in node.getOperatorName() or node.getTransformationUID() in ("parse", "recommend"):
        options = node.getOperatorFactory().getOperator().getConfiguration().toMap()
        python.append({key: options.get(key) for key in options if key.startswith("python.fn-execution.")})
told = {"explained": plan, "graph": json.loads(shown.getStreamingPlanAsJSON()), "uids": uids, "python": python}
print("PLAN" + json.dumps(told | {"buffers": sorted({node.getBufferTimeout() for node in nodes})}))
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Plan and graph of the job, made in a process of its own because a JVM gateway outlives its tests."""
    waiting = StreamingSettings(bundle_time_ms=40, bundle_rows=4000, buffer_timeout_ms=7)
    settings = Settings(aws_endpoint="http://127.0.0.1:1", streaming=waiting)
    properties = tmp_path_factory.mktemp("plan") / "application_properties.json"
    properties.write_text(json.dumps(to_properties(settings)))
    env = os.environ | {
        ENVIRONMENT_VARIABLE: str(properties),
        "JAVA_HOME": str(toolchain.java_home()),
        "HADOOP_CLASSPATH": ":".join(str(jar) for jar in toolchain.jars().flink_lib),
    }
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    shown: dict[str, Any] = json.loads(done.stdout.partition("PLAN")[2])
    return shown


@pytest.fixture(scope="module")
def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The operators of the whole graph."""
    found: list[dict[str, Any]] = plan["graph"]["nodes"]
    return found


def contents(nodes: list[dict[str, Any]], pattern: str) -> list[str]:
    return [node["contents"] for node in nodes if re.search(pattern, node["contents"])]


def test_how_long_rows_wait_for_company_is_in_the_job_itself(plan: dict[str, Any]) -> None:
    """The managed service has no place where it could be set."""
    bundles = {"bundle.time": "40", "bundle.size": "4000", "arrow.batch.size": "4000"}
    expected = {f"python.fn-execution.{key}": value for key, value in bundles.items()}
    assert len(plan["python"]) == 2
    for options in plan["python"]:
        assert expected.items() <= options.items(), options
    assert plan["buffers"] == [7]


def test_the_stream_is_read_once_and_each_record_parsed_once(nodes: list[dict[str, Any]]) -> None:
    assert len([node for node in nodes if node["pact"] == "Data Source"]) == 1
    assert len(contents(nodes, r"\bparse\(")) == 1


def test_the_serving_step_that_writes_is_called_once(plan: dict[str, Any], nodes: list[dict[str, Any]]) -> None:
    optimised = plan["explained"].partition("== Optimized Execution Plan ==")[2]
    assert len(re.findall(r"PythonCalc\(.*serve\(", optimised)) == 1
    assert len(contents(nodes, r"PythonCalc.*\bserve\(")) == 1


def test_duplicates_are_dropped_by_the_append_only_form_before_anything_counts(nodes: list[dict[str, Any]]) -> None:
    (found,) = contents(nodes, "Deduplicate")
    assert re.search(r"Deduplicate\(keep=\[FirstRow\], key=\[shop_id, event_id\], order=\[PROCTIME\]\)", found)
    assert not contents(nodes, "ChangelogNormalize")


def test_every_operator_has_a_uid_of_its_own_and_state_is_under_known_ones(plan: dict[str, Any]) -> None:
    uids = list(plan["uids"].values())
    assert None not in uids
    assert len(uids) == len(set(uids))
    stateful = {"events", "distinct", "served", "dead-letter", "item-features", "user-features"}
    assert stateful <= set(uids)
    for sums in ("item-sums", "user-sums", "item-windows", "user-windows"):
        assert [uid for uid in uids if re.fullmatch(rf"{sums}-[0-9a-f]{{8}}", uid)], uids


def test_people_find_each_step_under_a_name_that_says_what_it_does(nodes: list[dict[str, Any]]) -> None:
    names = {node["type"] for node in nodes}
    assert {
        "Source: read events",
        "parse and validate",
        "event time",
        "drop repeated events",
        "sum up items",
        "sum up visitors",
        "recommend and write to Redis",
        "sum windows of items",
        "close windows of items",
        "sum windows of visitors",
        "close windows of visitors",
        "write served log",
        "write dead letters",
        "write features of items",
        "write features of visitors",
    } <= names
    assert not [name for name in names if re.search(r"\[\d+\]|StreamingFileWriter|Calc|Unnamed", name)]
