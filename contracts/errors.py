"""The error tree: whose fault it is decides the branch.

::

    LiveshelfError
    ├── SettingsError          a setting is missing or cannot be read        (operator)
    ├── ContractError          a value does not keep a contract              (whoever sent it)
    │   ├── InvalidEvent       an event is rejected, with a reason code
    │   ├── InvalidItem        a catalogue row is rejected
    │   ├── InvalidRules       merchandising rules cannot be read
    │   └── InvalidId          a shop, user, item or version id is malformed
    ├── SnapshotError          a model snapshot is missing, torn or corrupt  (publisher, storage)
    ├── StoreError             a store did not answer, or refused            (Redis, S3, DynamoDB, Kinesis)
    │   ├── ChangedMeanwhile   somebody else replaced the object first       (two writers)
    │   └── PartialWrite       some records of a bulk write were not taken
    ├── TrainingError          a model cannot be trained from this data      (data)
    │   ├── PublishConflict    another run published first                   (schedule)
    │   └── PublishRefused     a check or the gate keeps the live model      (data)
    ├── LocalStackError        the one-machine stack could not be started    (this machine)
    └── DeploymentError        an artefact or an AWS resource is not right   (operator, AWS account)
        └── PackagingError     an artefact could not be built                (this machine)

A message says what happened, the value received, what was expected, and what to do. A cause is kept (``raise … from``).
"""

__all__ = [
    "ChangedMeanwhile",
    "ContractError",
    "DeploymentError",
    "InvalidEvent",
    "InvalidId",
    "InvalidItem",
    "InvalidRules",
    "LiveshelfError",
    "LocalStackError",
    "PackagingError",
    "PartialWrite",
    "PublishConflict",
    "PublishRefused",
    "SettingsError",
    "SnapshotError",
    "StoreError",
    "TrainingError",
]


class LiveshelfError(Exception):
    """Base of every error this product raises on purpose."""


class SettingsError(LiveshelfError):
    """A setting is missing, unknown or unreadable; the message lists every place that was searched."""


class ContractError(LiveshelfError, ValueError):
    """A value does not keep a contract; the sender has to change it, a retry cannot help."""


class InvalidEvent(ContractError):
    """An event is rejected.

    ``reason`` is one of :data:`contracts.events.REASONS`; it names the dead-letter counter and is stable for alarms.

    >>> str(InvalidEvent("unknown_type", "event_type is 'wave'; expected one of view, purchase"))
    "unknown_type: event_type is 'wave'; expected one of view, purchase"
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InvalidItem(ContractError):
    """A catalogue row is rejected."""


class InvalidRules(ContractError):
    """Merchandising rules are rejected; the message names the rule and the field."""


class InvalidId(ContractError):
    """A shop, user, item or version id is malformed."""


class SnapshotError(LiveshelfError):
    """A model snapshot is missing, incomplete, or its digests do not match its manifest."""


class StoreError(LiveshelfError):
    """A store (Redis, S3, DynamoDB, Kinesis) did not answer in time or refused after all retries."""


class ChangedMeanwhile(StoreError):
    """The object is no longer the one that was read, so it was not replaced: read it again."""


class PartialWrite(StoreError):
    """Some records of a bulk write were not taken after all retries; ``failed`` holds their positions."""

    def __init__(self, message: str, failed: list[int]) -> None:
        super().__init__(message)
        self.failed = failed


class TrainingError(LiveshelfError):
    """A model cannot be trained from the data of the window."""


class PublishConflict(TrainingError):
    """Another run switched the CURRENT pointer since this run read it; nothing of this run became visible."""


class PublishRefused(TrainingError):
    """A data check, the gate, or the verification of a version decided that the live model stays."""


class LocalStackError(LiveshelfError):
    """The one-machine stack could not be started; the message ends with the remedy."""


class DeploymentError(LiveshelfError):
    """AWS refused or is not in the state that a deployment needs; the message ends with the remedy."""


class PackagingError(DeploymentError):
    """An artefact could not be built, or is not fit for the service that is to run it."""
