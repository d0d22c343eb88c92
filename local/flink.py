"""A real Flink cluster from the pip distribution, kept as the managed service keeps one.

RocksDB, incremental exactly-once checkpoints, automatic restarts; and when the JobManager itself dies, the job is
submitted again from the newest retained checkpoint, which a cluster without high availability would not do.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import LocalStackError
from deploy.stream_settings import stream_settings
from local.flink_rest import FlinkRest
from local.health import http_ok, wait_until
from local.ports import LOOPBACK, free_port
from local.supervisor import Service, Supervisor

__all__ = ["BASE_OPTIONS", "Cluster", "Job", "newest_checkpoint"]

CBOR_OFF = (
    "-Dorg.apache.flink.kinesis.shaded.com.amazonaws.sdk.disableCbor=true",
    "-Dcom.amazonaws.sdk.disableCbor=true",
)
CHECKPOINT_MAGIC = (0x4960672D).to_bytes(4)  # first bytes of every `_metadata`
SUBMIT_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class Job:
    """What ``flink run`` needs to start, and to start again, one PyFlink job."""

    script: Path
    jarfile: Path | None = None
    py_files: Sequence[Path] = ()
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    """Where ``flink run`` works: what lies there can be imported by the script."""


class Cluster:
    """One JobManager and one TaskManager under a supervisor.

    ``env`` reaches both and, through the TaskManager, every Python worker: the settings file's path and AWS credentials
    belong there. ``options`` are Flink options laid over :data:`BASE_OPTIONS`.
    ``plugins`` are jars of file systems, each loaded on its own.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        java_home: Path,
        plugins: Sequence[Path] = (),
        s3_endpoint: str = "",
        env: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        port: int | None = 8081,
    ) -> None:
        self._supervisor = supervisor
        self.home = supervisor.data / "flink"
        shutil.rmtree(self.home, ignore_errors=True)  # the emulator forgets the stream, so older state fits nothing
        for part in ("conf", "tmp", "checkpoints", "savepoints", "plugins", "pids"):
            (self.home / part).mkdir(parents=True)
        self.logs = supervisor.data / "logs" / "flink"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._ports = self._choose_ports(port)
        self.rest = FlinkRest(f"http://{LOOPBACK}:{self._ports['rest.port']}")
        self._write_conf({**self._options(s3_endpoint), **(options or {})})
        for jar in plugins:
            (self.home / "plugins" / jar.stem).mkdir()
            (self.home / "plugins" / jar.stem / jar.name).symlink_to(jar)
        self._env = {**self._environment(java_home), **(env or {})}
        self._submitting = threading.Lock()
        self._job: Job | None = None
        self.job_ids: list[str] = []  # every id the job has had, oldest first: a resubmission makes a new one

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start both processes and return when the TaskManager has registered its slots."""
        scripts = pyflink_home() / "bin"
        manager = Service(
            name="flink-jobmanager",
            command=[scripts / "jobmanager.sh", "start-foreground"],
            env=self._env,
            ready=http_ok(f"{self.rest.url}/overview"),
            ready_seconds=300,
            restart=True,
            nice=10,
            on_restart=self._resubmit,
        )
        worker = Service(
            name="flink-taskmanager",
            command=[scripts / "taskmanager.sh", "start-foreground"],
            env=self._env,
            ready=self._has_slots,
            ready_seconds=300,
            restart=True,
            nice=10,
        )
        self._supervisor.start(manager, worker)

    def submit(self, job: Job, *, from_savepoint: Path | None = None, drop_unknown_state: bool = False) -> str:
        """Submit the job detached, optionally from a savepoint or retained checkpoint, and return its id.

        ``drop_unknown_state`` lets go of state that no operator of the job claims; without it Flink refuses to start.

        A retained checkpoint is claimed: the cluster deletes it once newer ones took its place; a savepoint stays.
        Raises LocalStackError with the client's last lines when the job could not be built or was refused.
        """
        with self._submitting:
            self._job = job
            log = self.logs / "submit.log"
            with log.open("w") as out:
                try:
                    code = subprocess.run(
                        [str(part) for part in self._run_command(job, from_savepoint, drop_unknown_state)],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        env=self._client_env(job),
                        cwd=job.folder,
                        timeout=SUBMIT_SECONDS,
                        check=False,
                    ).returncode
                except subprocess.TimeoutExpired:
                    code = -1
            text = log.read_text(errors="replace")
            found = re.search(r"JobID ([0-9a-f]{32})", text)
            if code != 0 or found is None:
                lines = "\n".join(f"    {line}" for line in text.splitlines()[-30:])
                msg = f"flink run of {job.script} ended with code {code} and no job id; the end of {log}:\n{lines}"
                raise LocalStackError(msg)
            self.job_ids.append(found[1])
            return found[1]

    def newest_checkpoint(self) -> Path | None:
        """The newest complete checkpoint on disk, of whichever job id, or None."""
        return newest_checkpoint(self.home / "checkpoints")

    def stop_job(self, job: str, *, drain: bool = True) -> str:
        """Stop a job for good, with a savepoint in this run's folder whose path is returned.

        Flink refuses a savepoint while a task is still being deployed, so that is waited for.
        """
        wait_until(lambda: self.rest.running(job), f"job {job}", seconds=60)
        self._job = None
        savepoint = self.rest.stop(job, (self.home / "savepoints").as_uri(), drain=drain)
        # The savepoint is complete before the sinks have heard of it: only with the job's end are its last files there.
        wait_until(lambda: self.rest.status(job) == "FINISHED", f"the end of job {job}", seconds=60)
        return savepoint

    # --- inside -------------------------------------------------------------------------------------------------

    def _resubmit(self) -> None:
        """After the JobManager's death: its memory held the job, the checkpoint folder holds the rest.

        Slots of the lost job may still be held for a moment; Flink itself waits for them, so this does not.
        """
        if (job := self._job) is None:
            return
        self.submit(job, from_savepoint=self.newest_checkpoint())

    def _has_slots(self) -> bool:
        try:
            return bool(self.rest.overview()["slots-total"] > 0)
        except LocalStackError:
            return False

    def _run_command(self, job: Job, from_savepoint: Path | None, drop: bool) -> list[str | Path]:
        command: list[str | Path] = [pyflink_home() / "bin" / "flink", "run", "-d", "-py", job.script]
        if job.jarfile:
            command += ["--jarfile", job.jarfile]
        if job.py_files:
            command += ["-pyfs", ",".join(map(str, job.py_files))]
        if from_savepoint:
            claim = "CLAIM" if from_savepoint.name.startswith("chk-") else "NO_CLAIM"
            command[2:2] = ["-s", from_savepoint.as_uri(), "-claimMode", claim]
            if drop:
                command[2:2] = ["--allowNonRestoredState"]
        return [*command, *job.arguments]

    def _client_env(self, job: Job) -> dict[str, str]:
        # Three short-lived JVMs come and go in one submission: they end before the better compiler pays.
        quick = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
        return {**os.environ, **self._env, **quick, **job.env}

    def _choose_ports(self, preferred: int | None) -> dict[str, int]:
        chosen: dict[str, int] = {}
        for key, wish in {"rest.port": preferred, "jobmanager.rpc.port": None, "blob.server.port": None}.items():
            chosen[key] = free_port(wish, avoid=chosen.values())
        return chosen

    def _environment(self, java_home: Path) -> dict[str, str]:
        return {
            "JAVA_HOME": str(java_home),
            "FLINK_HOME": str(pyflink_home()),
            "FLINK_CONF_DIR": str(self.home / "conf"),
            "FLINK_PLUGINS_DIR": str(self.home / "plugins"),
            "FLINK_LOG_DIR": str(self.logs),
            "FLINK_IDENT_STRING": "liveshelf",
            "AWS_CBOR_DISABLE": "true",  # the emulator does not read CBOR
        }

    def _options(self, s3_endpoint: str) -> dict[str, str]:
        java = [default_java_options(), *CBOR_OFF, "-Dconsole.log.level=WARN"]  # the full log is in FLINK_LOG_DIR
        options = {
            **{key: str(port) for key, port in self._ports.items()},
            "env.java.opts.all": " ".join(java),
            "env.pid.dir": str(self.home / "pids"),
            "io.tmp.dirs": str(self.home / "tmp"),
            "execution.checkpointing.dir": (self.home / "checkpoints").as_uri(),
            "execution.checkpointing.savepoint-dir": (self.home / "savepoints").as_uri(),
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            **BASE_OPTIONS,
        }
        if s3_endpoint:
            options |= {
                "s3.endpoint": s3_endpoint,
                "s3.path.style.access": "true",
                "s3.access-key": "local",
                "s3.secret-key": "local",
            }
        return options

    def _write_conf(self, options: Mapping[str, str]) -> None:
        for name in ("log4j-console.properties", "log4j-cli.properties"):
            shutil.copy(pyflink_home() / "conf" / name, self.home / "conf")
        # JSON strings are YAML strings, and quote whatever needs quoting.
        lines = (f"{key}: {json.dumps(value)}\n" for key, value in sorted(options.items()))
        (self.home / "conf" / "config.yaml").write_text("".join(lines))


BASE_OPTIONS: Mapping[str, str] = {
    "jobmanager.rpc.address": LOOPBACK,
    "jobmanager.bind-host": LOOPBACK,
    "taskmanager.host": LOOPBACK,
    "taskmanager.bind-host": LOOPBACK,
    "rest.address": LOOPBACK,
    "rest.bind-address": LOOPBACK,
    "jobmanager.memory.process.size": "1024m",
    "taskmanager.memory.process.size": "3072m",
    "taskmanager.memory.jvm-metaspace.size": "768m",  # every resubmission leaves a class loader behind
    "taskmanager.jvm-exit-on-oom": "true",  # else it lingers half dead and nothing restarts it
    "taskmanager.numberOfTaskSlots": "4",
    # Of the managed memory of a slot RocksDB gets seven tenths (Flink: four); sorting and Python need little of it.
    "taskmanager.memory.managed.consumer-weights": "OPERATOR:20,STATE_BACKEND:70,PYTHON:10",
    "parallelism.default": "2",
    **stream_settings().flink,
    "heartbeat.interval": "3 s",
    "heartbeat.timeout": "20 s",
    "pekko.ask.timeout": "30 s",
    "taskmanager.slot.timeout": "10 s",  # how long the slots of a job whose JobManager died stay taken
    "classloader.check-leaked-classloader": "false",  # AWS clients keep threads that trip it when a job ends
}


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest ``<job id>/chk-<n>`` whose metadata is complete enough to start from.

    A checkpoint that was being written, or half deleted, when the JobManager died has no metadata file or a torn one.
    """

    def complete(metadata: Path) -> bool:
        with metadata.open("rb") as file:
            return file.read(4) == CHECKPOINT_MAGIC

    found = [path for path in folder.glob("*/chk-*/_metadata") if complete(path)]
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent if found else None


def pyflink_home() -> Path:
    """The Flink distribution inside the ``apache-flink`` package."""
    import pyflink

    return Path(pyflink.__file__).resolve().parent


def default_java_options() -> str:
    """What the distribution itself passes to Java 17, so that an upgrade of Flink brings its own list."""
    text = (pyflink_home() / "conf" / "config.yaml").read_text()
    found = re.search(r"^ +all: (--.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
