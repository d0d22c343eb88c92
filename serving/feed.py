"""Keeping catalogues, rules and experiments fresh: a conditional GET every few seconds, swapped as a whole."""

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from contracts.baked import Baked
from contracts.errors import ContractError, InvalidItem, InvalidRules
from contracts.experiments import Experiments, decode_experiments
from contracts.exploration import NewItems, candidates, decode_new_items
from contracts.items import decode_catalogue
from contracts.lake import catalogue_path, experiments_path, new_items_path, rules_path, visitors_path
from contracts.merchandise import Active, activate
from contracts.rules import NO_RULES, Rules, decode_rules
from contracts.settings import Settings
from serving.baked import load_baked
from serving.catalogue import EMPTY, Catalogue
from stores.aws import client

__all__ = ["Feed"]

_log = logging.getLogger(__name__)
_PERIOD_S: Final = 5.0
_SAMPLES: Final = 200
_PLACEMENTS: Final = 256
_DAY_MS: Final = 24 * 3_600_000
_NO_EXPERIMENTS: Final = Experiments()
_NOTHING_NEW: Final[dict[str, tuple[int, int]]] = {}


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
        self._counted: dict[str, NewItems] = {}
        self._new: dict[str, tuple[object, dict[str, tuple[int, int]]]] = {}
        self._baked = {shop: baked for shop in settings.shops if (baked := load_baked(settings, shop))}
        self._rules = {shop: baked.rules for shop, baked in self._baked.items()}
        self._active: dict[tuple[str, str], tuple[Rules, Active]] = {}
        for shop, baked in self._baked.items():
            self._catalogues[shop] = Catalogue({item.item_id: item for item in baked.items})

    def catalogue(self, shop: str) -> Catalogue:
        """The shop's catalogue."""
        return self._catalogues.get(shop, EMPTY)

    def experiments(self, shop: str) -> Experiments:
        """The shop's experiments."""
        return self._experiments.get(shop, _NO_EXPERIMENTS)

    def new_items(self, shop: str) -> dict[str, tuple[int, int]]:
        """The new items of the day with their impressions and clicks; none before the batch said which are not new."""
        return self._new[shop][1] if shop in self._new else _NOTHING_NEW

    def baked(self, shop: str) -> Baked | None:
        """The popular items that this deployment brought along."""
        return self._baked.get(shop)

    def rules(self, shop: str) -> Rules:
        """The shop's merchandising rules; before the first load those of the deployment."""
        return self._rules.get(shop, NO_RULES)

    def active(self, shop: str, placement: str, now_ms: int) -> Active:
        """The rules in force on a placement, arranged once for as long as they stay the same."""
        rules, place = self.rules(shop), (shop, placement)
        known = self._active.get(place)
        if known is not None and known[0] is rules and (known[1].until_ms is None or now_ms < known[1].until_ms):
            return known[1]
        if len(self._active) >= _PLACEMENTS:
            self._active.clear()
        self._active[place] = rules, activate(rules, placement, now_ms)
        return self._active[place][1]

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
            # First: a process is ready with its catalogue (/readyz), and shows nothing then that rules hide.
            if data := self._changed(rules_path(shop)):
                try:
                    self._rules[shop] = decode_rules(data)
                except InvalidRules as exc:
                    _log.error("the rules of shop %s were not taken over: %s", shop, exc)
            if data := self._changed(catalogue_path(shop)):
                try:
                    catalogue = Catalogue(decode_catalogue(data), self._now_ms())
                    _ = catalogue.price_positions  # here, in a thread, not while a shelf waits
                    self._catalogues[shop] = catalogue
                    gc.freeze()  # a collection that walks over all items would hold up every shelf meanwhile
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
            if data := self._changed(new_items_path(shop)):
                try:
                    self._counted[shop] = decode_new_items(data)
                except ContractError as exc:
                    _log.error("the new items of shop %s were not taken over: %s", shop, exc)
            self._renew(shop)

    def _renew(self, shop: str) -> None:
        """Choose the day's new items where the day, the catalogue or what is known of them changed."""
        catalogue, counted, day = self.catalogue(shop), self._counted.get(shop), self._now_ms() // _DAY_MS
        made_of = (day, catalogue.loaded_at, counted.made_at if counted else None)
        if counted is not None and (shop not in self._new or self._new[shop][0] != made_of):
            self._new[shop] = made_of, candidates(catalogue.items, counted, day)

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
