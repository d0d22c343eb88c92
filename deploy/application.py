"""The managed Flink application: start, stop, snapshots, and which code it runs. CloudFormation makes it."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.exceptions import ClientError

from contracts.errors import DeploymentError
from deploy.cloud import Cloud, understood

__all__ = ["Application"]

_POLL_S: Final = 10.0
_SECONDS: Final = 1800.0
_PASSING: Final = ("STARTING", "STOPPING", "UPDATING", "AUTOSCALING", "FORCE_STOPPING", "ROLLING_BACK", "MAINTENANCE")


class Application:
    """One application of Managed Service for Apache Flink, by its name."""

    def __init__(
        self,
        cloud: Cloud,
        name: str,
        say: Callable[[str], None] = print,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._api = cloud.client("kinesisanalyticsv2")
        self._say, self._pause, self._clock = say, pause, clock

    def describe(self) -> dict[str, Any] | None:
        """The service's own description; None where there is no such application."""
        with understood(f"application {self.name}"):
            try:
                found: dict[str, Any] = self._api.describe_application(ApplicationName=self.name)["ApplicationDetail"]
            except ClientError as exc:
                if exc.response["Error"]["Code"] == "ResourceNotFoundException":
                    return None
                raise
        return found

    def status(self) -> str | None:
        """The service's word for its state; None where there is none."""
        found = self.describe()
        return None if found is None else str(found["ApplicationStatus"])

    def code_key(self) -> str | None:
        """The key of the zip that it runs."""
        found = self.describe() or {}
        code = found.get("ApplicationConfigurationDescription", {}).get("ApplicationCodeConfigurationDescription", {})
        where = code.get("CodeContentDescription", {}).get("S3ApplicationCodeLocationDescription", {})
        return str(where["FileKey"]) if "FileKey" in where else None

    # --- acting ------------------------------------------------------------------------------------------------

    def start(self, *, snapshot: str | None = None) -> None:
        """Start it, from a snapshot where one is named, else from the newest, else from nothing; wait for RUNNING.

        Does nothing where it runs. RUNNING says that the service started Flink, not that the Python job lives: look
        for output afterwards (:mod:`deploy.probe`).
        """
        status = self.settled()
        if status == "RUNNING":
            return
        if status != "READY":
            message = f"application {self.name} is {status}; expected READY or RUNNING: see its events in the console"
            raise DeploymentError(message)
        restore = {"ApplicationRestoreType": "RESTORE_FROM_LATEST_SNAPSHOT"}
        if snapshot:
            restore = {"ApplicationRestoreType": "RESTORE_FROM_CUSTOM_SNAPSHOT", "SnapshotName": snapshot}
        elif not self.snapshots():
            restore = {"ApplicationRestoreType": "SKIP_RESTORE_FROM_SNAPSHOT"}
        self._say(
            f"  application {self.name}: starting ({restore['ApplicationRestoreType'].lower().replace('_', ' ')})"
        )
        with understood(f"start of {self.name}"):
            self._api.start_application(
                ApplicationName=self.name, RunConfiguration={"ApplicationRestoreConfiguration": restore}
            )
        self._reach("RUNNING")

    def stop(self, *, force: bool = False) -> None:
        """Stop it, with a last snapshot unless by ``force``; wait for READY. Does nothing where it does not run."""
        if self.settled() != "RUNNING":
            return
        self._say(f"  application {self.name}: stopping{', without a snapshot' if force else ''}")
        with understood(f"stop of {self.name}"):
            self._api.stop_application(ApplicationName=self.name, Force=force)
        self._reach("READY")

    def snapshot(self, name: str) -> str:
        """Take a snapshot of the running application and wait until it can be restored; returns its name."""
        with understood(f"snapshot of {self.name}"):
            try:
                self._api.create_application_snapshot(ApplicationName=self.name, SnapshotName=name)
            except ClientError as exc:
                if exc.response["Error"]["Code"] != "ResourceInUseException":  # one of this name is there: interrupted
                    raise
        for _ in self._ticks(f"snapshot {name}"):
            with understood(f"snapshot {name}"):
                found = self._api.describe_application_snapshot(ApplicationName=self.name, SnapshotName=name)
            status = found["SnapshotDetails"]["SnapshotStatus"]
            if status == "READY":
                return name
            if status != "CREATING":
                message = f"snapshot {name} of {self.name} is {status}; look for failed checkpoints in the dashboard"
                raise DeploymentError(message)
        raise AssertionError

    def snapshots(self) -> list[str]:
        """Names of the snapshots that can be restored, newest first."""
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        with understood(f"snapshots of {self.name}"):
            while True:
                page = self._api.list_application_snapshots(ApplicationName=self.name, Limit=50, **token)
                found += page.get("SnapshotSummaries", ())
                if not page.get("NextToken"):
                    break
                token = {"NextToken": page["NextToken"]}
        ready = [each for each in found if each["SnapshotStatus"] == "READY"]
        return [each["SnapshotName"] for each in sorted(ready, key=lambda e: e["SnapshotCreationTimestamp"])][::-1]

    # --- waiting -----------------------------------------------------------------------------------------------

    def settled(self) -> str | None:
        """Its state once the service does nothing with it any more."""
        for _ in self._ticks(self.name):
            status = self.status()
            if status not in _PASSING:
                return status
        raise AssertionError

    def _reach(self, wanted: str) -> None:
        status = self.settled()
        if status != wanted:
            message = f"application {self.name} is {status}, wanted {wanted}; its log group says why"
            raise DeploymentError(message)

    def _ticks(self, what: str) -> Iterator[None]:
        began = self._clock()
        while self._clock() - began < _SECONDS:
            yield
            self._pause(_POLL_S)
        message = f"{what} did not settle within {_SECONDS / 60:.0f} minutes; repeat the command to go on waiting"
        raise DeploymentError(message)
