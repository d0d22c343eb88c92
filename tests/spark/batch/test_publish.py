"""A publish that ends anywhere leaves the old model live, and the next one finishes; two at a time do not both win."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from batch.publish import (
    Entry,
    ListWriter,
    Stores,
    make_live,
    mend_mirrors,
    mirror,
    mirrors,
    prune_versions,
    registry_entry,
    switch,
    upload_snapshot,
)
from contracts.errors import PublishConflict, SnapshotError, StoreError
from contracts.keys import pointer_key, popular_key
from contracts.lake import model_prefix, pointer_path
from contracts.lists import encode_value
from contracts.settings import Settings
from contracts.snapshot import Manifest, ModelSettings, write_snapshot
from local import valkey
from local.emulator_process import running_emulator
from stores.aws import client
from stores.dynamodb import write_units
from stores.objects import Objects
from stores.pace import Pace

SHOP = "default"
NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Killed(Exception):
    """Stands for the end of the process."""


class Dying:
    """A store that dies instead of its n-th call of all stores together."""

    def __init__(self, store: Any, left: list[int]) -> None:
        self._store, self._left = store, left

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if self._left[0] == 0:
                raise Killed(name)
            self._left[0] -= 1
            return method(*arguments, **named)

        return call


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Empty stores."""
    with running_emulator() as endpoint, valkey.cluster() as nodes, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "local")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        yield Settings.from_properties({"liveshelf": {"aws.endpoint": endpoint, "redis.nodes": nodes}})


@pytest.fixture
def stores(settings: Settings) -> Iterator[Stores]:
    """The stores before the first publish."""
    s3, place = client("s3", settings), {"LocationConstraint": settings.aws_region}
    s3.create_bucket(Bucket=settings.lake_bucket, CreateBucketConfiguration=place)
    opened = Stores.open(settings)
    opened.tables.ensure()
    yield opened
    opened.cluster.execute([("DEL", pointer_key(SHOP))])
    opened.cluster.close()
    for path in opened.objects.list(""):
        opened.objects.delete(path)
    s3.delete_bucket(Bucket=settings.lake_bucket)
    client("dynamodb", settings).delete_table(TableName=settings.dynamodb_table)


def manifest(version: str, parent: str | None) -> Manifest:
    return Manifest(
        shop_id=SHOP,
        version=version,
        parent=parent,
        trained_at=NOW,
        window_start=NOW - timedelta(days=7),
        window_end=NOW,
        model=ModelSettings(),
        training={},
        feature_names=[],
        coefficients=[],
        metrics={},
        rows={},
    )


def snapshot(folder: Path, version: str, parent: str | None) -> Manifest:
    matrix = (np.array([0, 1, 2]), np.array([1, 0], np.int32), np.array([0.5, 0.5], np.float32))
    return write_snapshot(folder, manifest(version, parent), ["a", "b"], matrix, np.array([3, 1]))


def publish(stores: Stores, folder: Path, version: str) -> None:
    """All that a training publishes but the lists, whose writer opens its own stores."""
    parent = mend_mirrors(stores, SHOP)
    sealed = snapshot(folder / version, version, parent.version if parent else None)
    upload_snapshot(stores.objects, folder / version, sealed, folder / f"{version}-back")
    switch(stores, SHOP, sealed, NOW)


def live(stores: Stores) -> tuple[str | None, ...]:
    """The version in the authority, in Redis and in S3."""
    pointers = (stores.tables.current(SHOP), stores.cluster.pointer(SHOP))
    in_s3 = stores.objects.get(pointer_path(SHOP)).decode()
    return *(p.version if p else None for p in pointers), in_s3.partition('"version":"')[2].partition('"')[0]


def test_killed_at_any_call_the_old_model_stays_and_a_rerun_finishes(stores: Stores, tmp_path: Path) -> None:
    publish(stores, tmp_path, "v0")
    calls, before = 0, "v0"
    while True:
        left = [calls]
        dying = Stores(*(Dying(store, left) for store in (stores.objects, stores.tables, stores.cluster)))
        try:
            publish(dying, tmp_path, f"v{calls + 1}")
        except Killed:
            current = stores.tables.current(SHOP)
            assert current is not None
            assert current.version in (before, f"v{calls + 1}")
            mirrors = live(stores)[1:]
            assert set(mirrors) <= {before, f"v{calls + 1}"}
            assert mend_mirrors(stores, SHOP) == current
            assert set(live(stores)) == {current.version}
            before = current.version
        else:
            break
        calls += 1
    assert calls >= 8
    assert set(live(stores)) == {f"v{calls + 1}"}


def test_of_two_that_started_from_one_parent_the_second_is_refused(stores: Stores, tmp_path: Path) -> None:
    publish(stores, tmp_path, "v1")
    switch(stores, SHOP, manifest("v2", "v1"), NOW)
    with pytest.raises(PublishConflict, match=r"expected v1 to be live, found v2"):
        switch(stores, SHOP, manifest("v3", "v1"), NOW)
    assert set(live(stores)) == {"v2"}


def test_a_snapshot_that_does_not_read_back_as_written_is_refused(
    stores: Stores, settings: Settings, tmp_path: Path
) -> None:
    class Losing(Objects):
        """Storage that loses the tail of one file."""

        def upload_folder(self, folder: Path, prefix: str, names: Any) -> None:
            super().upload_folder(folder, prefix, names)
            if "data.npy" in names:
                self.put(f"{prefix}data.npy", (folder / "data.npy").read_bytes()[:-1])

    sealed = snapshot(tmp_path / "v1", "v1", None)
    with pytest.raises(SnapshotError, match=r"data\.npy does not match its manifest"):
        upload_snapshot(Losing.from_settings(settings), tmp_path / "v1", sealed, tmp_path / "back")


def test_lists_that_do_not_stay_in_redis_are_noticed(stores: Stores, settings: Settings) -> None:
    writer = ListWriter(SHOP, "v1", int(datetime.now(UTC).timestamp() * 1000), 600)
    entry = Entry("popular", "", ["a", "b"], [1.0, 0.5])
    assert writer.write(settings, [entry]) == 1
    assert stores.cluster.get_many([popular_key(SHOP, "v1")])[0] is not None

    gone = replace(writer, written_ms=writer.written_ms - 10_000_000)  # expired before it was written
    with pytest.raises(StoreError, match="1 of 1 lists of v1 do not read back"):
        gone.write(settings, [entry])


def test_old_versions_are_deleted_but_never_the_live_one_and_its_parent(stores: Stores, tmp_path: Path) -> None:
    for n in range(5):
        publish(stores, tmp_path, f"v{n}")
    assert prune_versions(stores.objects, SHOP, 2, ("v1", "v4")) == ["v0", "v2"]
    assert stores.objects.list(model_prefix(SHOP, "v2")) == []
    assert len(stores.objects.list(model_prefix(SHOP, "v1"))) > 1
    assert prune_versions(stores.objects, SHOP, 2, ()) == ["v1"]
    assert prune_versions(stores.objects, SHOP, 9, ()) == []
    assert prune_versions(stores.objects, SHOP, 0, ("v4",)) == ["v3"]
    assert set(live(stores)) == {"v4"}


class Overtaken:
    """Storage whose first write of the pointer is held up until another version went live and was mirrored."""

    def __init__(self, stores: Stores, meanwhile: Callable[[], Any]) -> None:
        self._stores, self._meanwhile = stores, [meanwhile]

    def put(self, path: str, data: bytes) -> None:
        if path == pointer_path(SHOP) and self._meanwhile:
            self._meanwhile.pop()()
        self._stores.objects.put(path, data)


def test_a_slow_publisher_leaves_no_older_version_on_any_pointer(stores: Stores, tmp_path: Path) -> None:
    publish(stores, tmp_path, "v1")
    slow = replace(stores, objects=Overtaken(stores, lambda: make_live(stores, SHOP, "v3", "v2", NOW)))
    assert make_live(slow, SHOP, "v2", "v1", NOW).version == "v3"
    assert set(live(stores)) == {"v3"}
    assert mirrors(stores, SHOP) == (stores.tables.current(SHOP),) * 2


def test_an_authority_that_never_stands_still_is_an_error_and_not_a_loop(stores: Stores, tmp_path: Path) -> None:
    publish(stores, tmp_path, "v0")

    class Restless(Overtaken):
        def put(self, path: str, data: bytes) -> None:
            current = stores.tables.current(SHOP)
            assert current is not None
            make_live(stores, SHOP, f"{current.version}'", current.version, NOW)
            super().put(path, data)

    with pytest.raises(StoreError, match=r"changed 5 times while it was mirrored"):
        mirror(replace(stores, objects=Restless(stores, lambda: None)), SHOP)


def test_a_mirror_that_is_away_keeps_the_other_one_from_nothing(stores: Stores, tmp_path: Path) -> None:
    publish(stores, tmp_path, "v1")

    class Away:
        def put(self, path: str, data: bytes) -> None:
            message = "S3 is away"
            raise StoreError(message)

    away = replace(stores, objects=Away())  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"^v2 is live, but a mirror .* S3 is away; .*batch\.models activate v2"):
        make_live(away, SHOP, "v2", "v1", NOW)
    assert live(stores) == ("v2", "v2", "v1")
    mend_mirrors(stores, SHOP)
    assert set(live(stores)) == {"v2"}


def test_revisions_rise_though_the_clock_goes_back_and_the_table_is_made_anew(
    stores: Stores, settings: Settings, tmp_path: Path
) -> None:
    publish(stores, tmp_path, "v1")
    make_live(stores, SHOP, "v2", "v1", NOW - timedelta(days=400))
    assert set(live(stores)) == {"v2"}
    client("dynamodb", settings).delete_table(TableName=settings.dynamodb_table)
    stores.tables.ensure()
    make_live(stores, SHOP, "v1", None, NOW + timedelta(seconds=1))
    assert set(live(stores)) == {"v1"}


def test_back_and_forth_does_not_refuse_who_started_before(stores: Stores, tmp_path: Path) -> None:
    """v2 was trained on v1; meanwhile v3 came and was taken back: what v2 was compared with is live."""
    publish(stores, tmp_path, "v1")
    for version, expected in (("v3", "v1"), ("v1", "v3"), ("v2", "v1")):
        make_live(stores, SHOP, version, expected, NOW)
    assert set(live(stores)) == {"v2"}


def test_lists_of_the_live_version_stay_readable_while_and_after_the_next_is_published(
    stores: Stores, settings: Settings, tmp_path: Path
) -> None:
    entries = [Entry("person", f"u.{n}", ["a", "b"], [1.0, 0.5]) for n in range(700)]
    entries.append(Entry("popular", "", ["a"], [1.0]))
    written = int(datetime.now(UTC).timestamp() * 1000)

    def readable(version: str) -> bool:
        keys = [ListWriter(SHOP, version, written, 600).keys(entry)[1] for entry in entries]
        return all(stores.cluster.present(keys))

    assert ListWriter(SHOP, "v1", written, 600).write(settings, entries) == 701
    publish(stores, tmp_path, "v1")
    ListWriter(SHOP, "v2", written, 600).write(settings, entries)
    assert readable("v1")
    publish(stores, tmp_path, "v2")
    assert readable("v1")
    assert readable("v2")


def test_tasks_that_write_at_a_time_share_the_rates_of_the_run(
    stores: Stores, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []

    class Noted(Pace):
        def __init__(self, rate: float) -> None:
            rates.append(rate)
            super().__init__(rate)

    for module in ("batch.publish", "stores.dynamodb"):
        monkeypatch.setattr(f"{module}.Pace", Noted)
    writer = ListWriter(SHOP, "v1", int(datetime.now(UTC).timestamp() * 1000), 600, writers=4)
    assert writer.write(settings, [Entry("popular", "", ["a"], [1.0])]) == 1
    assert rates == [settings.training.dynamodb_units_per_s / 4, settings.training.redis_commands_per_s / 4]


def test_the_registry_row_of_a_long_history_fits_a_row_of_dynamodb(stores: Stores) -> None:
    days = {f"2020-{n:05d}": "shop=default/moments/day=2020-01-01/" + "f" * 64 for n in range(4000)}
    long = msgspec.structs.replace(manifest("v1", None), days=days, metrics={"live": {"HR@20": 0.3}})
    assert len(msgspec.json.encode(long)) > 400_000
    assert msgspec.json.decode(registry_entry(manifest("v1", None)), type=Manifest) == manifest("v1", None)
    entry = registry_entry(long)
    assert len(entry) < 2000
    assert msgspec.json.decode(entry, type=Manifest).metrics == long.metrics


def test_a_list_of_a_hundred_items_costs_three_write_units() -> None:
    writer = ListWriter(SHOP, "20260501T030000Z-1a2b3c", 1_777_600_000_000, 600)
    scores = np.random.default_rng(1).random(100).astype(np.float32)
    entry = Entry("person", "u.123456", [str(1_000_000 + n) for n in range(100)], sorted(scores.tolist(), reverse=True))
    value = writer.value(entry)
    assert value.scores == pytest.approx(entry.scores, rel=1e-5)
    assert value.scores == sorted(value.scores, reverse=True)
    assert write_units((writer.keys(entry)[0], encode_value(value), 1_777_600_000)) == 3
