"""A savepoint, other Python code, and the job goes on from where it was: what an upgrade of the code does."""

import io
import shutil
import time
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from benchmarks.survival_stand import Stand
from benchmarks.survival_traffic import Traffic
from contracts.errors import LocalStackError
from contracts.lake import dataset_prefix
from deploy.fatjar import fat_jar
from local.flink import Job
from local.health import wait_until
from local.paths import cache_dir, checkout
from local.replay import Account

__all__ = ["await_mark", "upgrade"]

MARK: Final = "again-"
# The next version of the serving step: it says in the served log that it is another one.
_CHANGE: Final = f'''

_before = Serve.eval


def _eval(self, *columns):
    rows = _before(self, *columns)
    rows["outcome"] = "{MARK}" + rows["outcome"]
    return rows


Serve.eval = _eval
'''


def upgrade(stand: Stand) -> float:
    """Stop with a savepoint, change the code of the serving step, start from the savepoint; timed from the stop."""
    began = time.monotonic()
    savepoint = Path(stand.stack.flink.stop_job(stand.job, drain=False).removeprefix("file:"))
    code = _other_code(stand.stack.supervisor.data / "other-code")
    jar = fat_jar(stand.stack.jars.flink_lib, cache_dir() / "fatjar")
    env = {**stand.stack.environment, "PYTHONPATH": str(code)}
    job = Job(script=code / "streaming" / "main.py", jarfile=jar, py_files=[code], env=env)
    stand.stack.flink.submit(job, from_savepoint=savepoint)
    return began


def await_mark(stand: Stand, traffic: Traffic, account: Account) -> None:
    """Raise LocalStackError unless the new code served a part of the run."""
    wait_until(lambda: _marked(stand, traffic), "rows of the new code in the served log", seconds=60)


def _marked(stand: Stand, traffic: Traffic) -> bool:
    for path in reversed(stand.objects.list(dataset_prefix(traffic.shop, "served"))):
        if not path.rpartition("/")[2].startswith(("_", ".")):
            table = pq.ParquetFile(io.BytesIO(stand.objects.get(path))).read(columns=["outcome"], use_threads=False)
            if any(outcome.startswith(MARK) for outcome in table.column("outcome").to_pylist()):
                return True
    return False


def _other_code(folder: Path) -> Path:
    """A copy of what the job is made of, with the change."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in ("contracts", "stores", "streaming"):
        shutil.copytree(checkout() / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    serve = folder / "streaming" / "serve.py"
    text = serve.read_text()
    if "class Serve(" not in text or "def eval(" not in text:
        msg = f"{serve} has no class Serve with eval any more; benchmarks/survival_code.py changes it there"
        raise LocalStackError(msg)
    serve.write_text(text + _CHANGE)
    return folder
