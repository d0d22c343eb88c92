"""What the managed Flink service keeps to itself is not set by the code that it runs."""

import ast
from collections.abc import Iterator

from local.paths import checkout

SERVICE_OWNED = (
    "execution.checkpointing",
    "high-availability",
    "jobmanager.",
    "parallelism.default",
    "rest.",
    "restart-strategy",
    "state.",
    "taskmanager.",
)


def _set_in_code() -> Iterator[str]:
    """Every option that the streaming package sets, wherever it does so."""
    for path in sorted((checkout() / "streaming").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in ("set", "set_string", "set_integer", "set_boolean") and node.args:
                key = node.args[0]
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value


def test_checkpoints_parallelism_state_and_restarts_are_left_to_the_service() -> None:
    found = set(_set_in_code())
    assert "pipeline.name" in found
    assert not {key for key in found if key.startswith(SERVICE_OWNED)}
