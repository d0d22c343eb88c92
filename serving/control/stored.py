"""What the control room reads from S3: manifests of versions, rejected records, experiments and their results."""

import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

import msgspec

from contracts.errors import ContractError, StoreError
from contracts.experiment_results import decode_results
from contracts.experiments import Experiments
from contracts.lake import UNKNOWN_SHOP, dataset_prefix, experiment_results_path, model_prefix, models_prefix
from contracts.pointer import Pointer
from contracts.settings import Settings
from serving.control import answers
from stores.aws import client
from stores.objects import NotFound, Objects

__all__ = ["Stored", "version_of"]

_VERSIONS: Final = 30
_FILES: Final = 4
_RECORDS: Final = 40
_SHOWN: Final = 400
_MOST_BYTES: Final = 8_000_000


class Stored:
    """Blocking reads with short time-outs, to be called in threads. Manifests never change, so each is read once."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        s3 = client("s3", settings, read_timeout_s=4.0, attempts=2, pool=4)
        self._objects = Objects(s3, settings.lake_bucket)
        self._now = now
        self._known: dict[str, answers.ModelVersion] = {}

    def models(self, shop: str, live: Pointer | None) -> answers.ControlModels:
        """The complete versions, newest first."""
        answer = answers.ControlModels(
            "", live.version if live else None, int(live.switched_at.timestamp() * 1000) if live else None, None, []
        )
        try:
            root = models_prefix(shop)
            found = [path.removeprefix(root) for path in self._objects.list(root)]
            complete = sorted({name.partition("/")[0] for name in found if name.endswith("/manifest.json")})
            for version in reversed(complete[-_VERSIONS:]):
                answer.versions.append(self._version(shop, version, answer.live))
        except (StoreError, ValueError, KeyError, TypeError) as exc:
            answer.problem = str(exc)
        ids = {version.version: version for version in answer.versions}
        parent = ids[answer.live].parent if answer.live in ids else None
        answer.previous = parent if parent in ids else None
        return answer

    def _version(self, shop: str, version: str, live: str | None) -> answers.ModelVersion:
        path = f"{model_prefix(shop, version)}manifest.json"
        if path not in self._known:
            if len(self._known) >= 4 * _VERSIONS:
                self._known.clear()
            self._known[path] = version_of(json.loads(self._objects.get(path)))
        return msgspec.structs.replace(self._known[path], live=version == live)

    def rejected(self, shop: str) -> answers.ControlRejected:
        """The newest rejected records of today and yesterday."""
        try:
            files = self._dead_letters(shop)
            rows = [row for path in files[:_FILES] for row in self._rows(path)]
        except StoreError as exc:
            return answers.ControlRejected(str(exc), [], False)
        except ImportError:
            problem = "samples are Parquet and this deployment is without pyarrow; the counts by reason are complete"
            return answers.ControlRejected(problem, [], False)
        records = sorted(map(_record, rows), key=lambda record: -record.arrived_at)
        return answers.ControlRejected("", records[:_RECORDS], len(files) > _FILES or len(records) > _RECORDS)

    def _dead_letters(self, shop: str) -> list[str]:
        """Files of the newest hours first."""
        found: list[str] = []
        days = [self._now() - timedelta(days=back) for back in (0, 1)]
        for day, whose in [(day, whose) for day in days for whose in (shop, UNKNOWN_SHOP)]:
            prefix = f"{dataset_prefix(whose, 'dead-letter')}year={day:%Y}/month={day:%m}/day={day:%d}/"
            sizes = self._objects.sizes(prefix)
            hidden = ("_", ".")
            kept = [name for name, size in sizes.items() if not name.rpartition("/")[2].startswith(hidden)]
            found += sorted((name for name in kept if sizes[name] <= _MOST_BYTES), reverse=True)
        return found

    def _rows(self, path: str) -> list[dict[str, Any]]:
        parquet = import_module("pyarrow.parquet")  # where it is installed: serving itself needs no numerics
        try:
            data = self._objects.get(path)
        except NotFound:
            return []  # compacted meanwhile
        rows: list[dict[str, Any]] = parquet.ParquetFile(io.BytesIO(data)).read().to_pylist()
        return rows

    def experiments(self, shop: str, known: Experiments) -> answers.ControlExperiments:
        """The experiments with what the batch has counted of each."""
        views = []
        for experiment in known.experiments:
            results, problem = None, ""
            try:
                data = self._objects.get(experiment_results_path(shop, experiment.id))
                results = msgspec.to_builtins(decode_results(data))
            except NotFound:
                problem = "nothing is counted yet: the next batch run does it"
            except (StoreError, ContractError) as exc:
                problem = str(exc)
            views.append(answers.ExperimentView(msgspec.to_builtins(experiment), results, problem))
        return answers.ControlExperiments("", views)


def version_of(manifest: Mapping[str, Any]) -> answers.ModelVersion:
    """A manifest as the control room shows it."""
    ranker = manifest.get("ranker") or {}
    names = ranker.get("names") or manifest.get("feature_names") or []
    columns = {name: ranker.get(name) or [None] * len(names) for name in ("coefficients", "standard_errors", "t")}
    if not ranker.get("coefficients"):
        columns["coefficients"] = manifest.get("coefficients") or [0.0] * len(names)
    gate = manifest.get("gate") or {}
    return answers.ModelVersion(
        version=manifest["version"],
        live=False,
        parent=manifest.get("parent"),
        trained_at=manifest["trained_at"],
        window_start=manifest["window_start"],
        window_end=manifest["window_end"],
        metrics=manifest.get("metrics") or {},
        gate=str(gate.get("decision", "")),
        sentences=[str(sentence) for sentence in gate.get("sentences") or []][:12],
        theta=float(manifest["model"].get("theta") or 0.0),
        terms=[answers.Term(*row) for row in zip(names, *columns.values(), strict=True)],
        r_squared=ranker.get("r_squared"),
        rows=manifest.get("rows") or {},
        settings=manifest.get("model") or {},
    )


def _record(row: Mapping[str, Any]) -> answers.RejectedRecord:
    data = row["data"] or b""
    return answers.RejectedRecord(
        reason=row["reason"],
        detail=str(row["detail"] or "")[:_SHOWN],
        arrived_at=row["arrived_ms"] or 0,
        shard=row["shard_id"] or "",
        sequence=row["sequence_number"] or "",
        data=data[:_SHOWN].decode("utf-8", "replace"),
    )
