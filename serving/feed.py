"""Keeping catalogues and experiments in memory fresh: a conditional GET every few seconds, swapped as a whole."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import ContractError, InvalidItem
from contracts.experiments import Experiments, decode_experiments
from contracts.items import decode_catalogue
from contracts.lake import catalogue_path, experiments_path, visitors_path
from contracts.settings import Settings
from serving.catalogue import EMPTY, Catalogue
from stores.aws import client

__all__ = ["Feed"]

_log = logging.getLogger(__name__)
_PERIOD_S: Final = 5.0
_SAMPLES: Final = 200
_NO_EXPERIMENTS: Final = Experiments()


class Feed:
    """Catalogue, experiments and sample users of each shop, as last read from S3; empty before the first load."""

    def __init__(self, settings: Settings, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._shops = settings.shops
        self._bucket = settings.lake_bucket
        self._s3 = client("s3", settings, read_timeout_s=10.0, attempts=2, pool=2)
        self._now_ms = now_ms
        self._tags: dict[str, str] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._samples: dict[str, list[str]] = {}
        self._experiments: dict[str, Experiments] = {}

    def catalogue(self, shop: str) -> Catalogue:
        """The shop's catalogue."""
        return self._catalogues.get(shop, EMPTY)

    def experiments(self, shop: str) -> Experiments:
        """The shop's experiments."""
        return self._experiments.get(shop, _NO_EXPERIMENTS)

    def samples(self, shop: str) -> list[str]:
        """A few known user ids."""
        return self._samples.get(shop, [])

    async def keep(self) -> None:
        """Refresh until cancelled."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(_PERIOD_S)

    def refresh(self) -> None:
        """Read what changed. On any failure the last good content stays, and the reason is logged."""
        for shop in self._shops:
            if data := self._changed(catalogue_path(shop)):
                try:
                    catalogue = Catalogue(decode_catalogue(data), self._now_ms())
                    _ = catalogue.price_positions  # here, in a thread, not while a shelf waits
                    self._catalogues[shop] = catalogue
                except (InvalidItem, OSError, EOFError) as exc:
                    _log.error("the catalogue of shop %s was not taken over: %s", shop, exc)
            if data := self._changed(visitors_path(shop)):
                try:
                    self._samples[shop] = msgspec.json.decode(data, type=list[str])[:_SAMPLES]
                except msgspec.MsgspecError as exc:
                    _log.error("the sample visitors of shop %s were not taken over: %s", shop, exc)

            if data := self._changed(experiments_path(shop)):
                try:
                    self._experiments[shop] = decode_experiments(data)
                except ContractError as exc:
                    _log.error("the experiments of shop %s were not taken over: %s", shop, exc)

    def _changed(self, path: str) -> bytes | None:
        """The object's content if it is not the one read last."""
        condition: dict[str, Any] = {"IfNoneMatch": self._tags[path]} if path in self._tags else {}
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=path, **condition)
            data = bytes(answer["Body"].read())
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in {"304", "NotModified", "NoSuchKey", "NoSuchBucket", "404"}:
                _log.warning("could not read %s: %s", path, exc)
            return None
        except BotoCoreError as exc:
            _log.warning("could not read %s: %s", path, exc)
            return None
        self._tags[path] = answer["ETag"]
        return data
