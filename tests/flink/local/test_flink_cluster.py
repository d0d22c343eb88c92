"""The cluster comes back, with the job, from whatever dies; and nothing of it outlives its parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from local.flink import Cluster, Job
from local.guardian import marked
from local.health import wait_until
from local.supervisor import Supervisor
from local.toolchain import java_home

pytestmark = pytest.mark.flink

SCRIPT = Path(__file__).with_name("sequence_job.py")
QUICK = {"execution.checkpointing.interval": "1 s", "execution.checkpointing.min-pause": "0 s"}


def workers(supervisor: Supervisor) -> list[psutil.Process]:
    """The Python workers of this run."""
    found = []
    for process in marked(supervisor.run):
        try:
            if "pyflink.fn_execution.beam.beam_boot" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    said: list[str] = []
    with Supervisor(tmp_path_factory.mktemp("run"), say=said.append) as supervisor:
        cluster = Cluster(supervisor, java_home=java_home(), options=QUICK, port=None)
        cluster.start()
        cluster.submit(Job(script=SCRIPT))
        wait_until(lambda: cluster.newest_checkpoint() is not None, "a first checkpoint", seconds=240)
        yield supervisor, cluster, said


def test_after_the_taskmanager_is_killed_the_same_job_runs_again_without_old_python_workers(running):
    supervisor, cluster, _ = running
    job = cluster.job_ids[-1]
    wait_until(lambda: cluster.rest.running(job), "the job", seconds=240)
    wait_until(lambda: bool(workers(supervisor)), "the Python workers", seconds=240)
    before, failure = set(workers(supervisor)), cluster.rest.exception(job)
    os.kill(supervisor.pid("flink-taskmanager"), signal.SIGKILL)
    wait_until(lambda: not any(worker.is_running() for worker in before), "the end of orphaned workers", seconds=60)
    wait_until(lambda: supervisor.restarts()["flink-taskmanager"] == 1, "the restart", seconds=60)
    # What the job itself remembers of its failures, of the same moment as its state; a metric may be older.
    wait_until(lambda: cluster.rest.exception(job) != failure, "the failure of the job", seconds=120)
    wait_until(lambda: cluster.rest.running(job), "the job again", seconds=240)
    assert cluster.rest.jobs() == {job: "RUNNING"}


def test_after_the_jobmanager_is_killed_the_job_is_resubmitted_from_the_newest_checkpoint(running):
    supervisor, cluster, said = running
    ids = list(cluster.job_ids)
    os.kill(supervisor.pid("flink-jobmanager"), signal.SIGKILL)
    wait_until(lambda: len(cluster.job_ids) == len(ids) + 1, "the resubmission", seconds=180, dead=failed(supervisor))
    job = cluster.job_ids[-1]
    wait_until(lambda: cluster.rest.running(job), "the resubmitted job", seconds=240)
    restored = cluster.rest.checkpoints(job)["latest"]["restored"]
    assert restored is not None, said
    assert ids[-1] in restored["external_path"]


def failed(supervisor: Supervisor):
    def reason() -> str | None:
        try:
            supervisor.check()
        except Exception as exc:
            return f"was given up: {exc}"
        return None

    return reason


def test_a_stopped_job_leaves_a_savepoint_that_another_can_start_from(running):
    _, cluster, _ = running
    job = cluster.job_ids[-1]
    wait_until(lambda: cluster.rest.running(job), "the job", seconds=240)
    savepoint = Path(cluster.stop_job(job, drain=False).removeprefix("file:"))
    assert (savepoint / "_metadata").is_file()
    again = cluster.submit(Job(script=SCRIPT), from_savepoint=savepoint)
    wait_until(lambda: cluster.rest.running(again), "the job from the savepoint", seconds=240)
    assert cluster.rest.checkpoints(again)["latest"]["restored"]["external_path"].endswith(savepoint.name)
    assert (savepoint / "_metadata").is_file(), "a savepoint is the user's, not the cluster's to delete"


PARENT = """
import sys, pathlib
from local.flink import Cluster, Job
from local.supervisor import Supervisor
from local.toolchain import java_home
with Supervisor(pathlib.Path(sys.argv[1])) as supervisor:
    cluster = Cluster(supervisor, java_home=java_home(), port=None)
    cluster.start()
    job = cluster.submit(Job(script=pathlib.Path(sys.argv[2])))
    print(supervisor.run, flush=True)
    supervisor.wait()
"""


def test_when_the_parent_is_killed_no_process_of_the_cluster_is_left(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(SCRIPT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            run = parent.stdout.readline().strip()
            wait_until(lambda: len(marked(run)) >= 4, "JobManager, TaskManager and workers", seconds=240)
        finally:
            parent.kill()
    wait_until(lambda: not marked(run), "the end of every process", seconds=20)
