"""A person who is deleted is in no byte of any store, whenever the work is killed; others lose nothing."""

import gzip
import io
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.days import sift
from batch.forget import forget_open, main, receipt_text
from batch.forget_job import Timing
from batch.publish import Stores, prune_versions
from contracts.errors import ContractError
from contracts.forgetting import Receipt, decode_tombstones, forgotten_prefix, receipt_path, tombstones_path
from contracts.keys import alias_key, batch_key, batch_row, user_key
from contracts.lake import model_prefix, people_path, visitors_path
from contracts.lists import Action, Owner, RecommendationList, UserValue, encode_value
from contracts.settings import Settings, to_properties
from stores.aws import client
from stores.forgetting import ask, load_receipt, open_deletions
from stores.objects import Objects

pytestmark = pytest.mark.e2e

ADA, PHONE, LAPTOP, OLD = "ada-lovelace-1815", "phone-77aa", "laptop-88bb", "old-browser-99cc"
NAMES = (ADA, PHONE, LAPTOP, OLD)
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(hours=3), NOW + timedelta(seconds=30)
VERSIONS = ("20260101T000000Z-aaaaaa", "20260131T000000Z-bbbbbb")
PRUNED = "20251201T000000Z-cccccc"
COUNT = itertools.count()
LIST = encode_value(
    RecommendationList(source="batch", model_version="v", based_on=None, written_at=5, items=["i1"], scores=[1.0])
)


def event(user: str | None, visitor: str | None, at: datetime = EARLIER, kind: str = "view", **more: Any) -> bytes:
    fields = {"event_id": f"e{next(COUNT)}", "event_type": kind, "item_id": "i1", "occurred_at": at.isoformat()}
    fields |= {"received_at": at.isoformat()} | more
    fields |= {"user_id": user} if user else {}
    return json.dumps(fields | ({"anonymous_id": visitor} if visitor else {})).encode()


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@dataclass
class Shop:
    """A shop with a bucket of its own, and a clock that sleeping moves."""

    name: str
    settings: Settings
    stores: Stores
    now: datetime = NOW
    said: list[str] = field(default_factory=list)

    def run(self, wait: bool = True) -> list[Receipt]:
        def sleep(seconds: float) -> None:
            self.now += timedelta(seconds=seconds)

        timing = Timing(settle_s=30, sweep_after_s=7200)
        return forget_open(
            self.settings, self.stores, self.name, timing=timing, say=self.said.append, wait=wait,
            now=lambda: self.now, sleep=sleep,
        )  # fmt: skip

    def ask(self) -> str:
        return ask(
            self.stores.objects, self.stores.cluster, self.name, user_id=ADA, anonymous_id=None, now=NOW, asked_by="k"
        ).id

    def contents(self) -> dict[str, bytes]:
        """All that the stores hold, readable: objects with all their versions, keys, rows."""
        return {**dict(self._objects()), **dict(self._redis()), **dict(self._rows())}

    def holding(self, *names: str) -> dict[str, str]:
        """What holds one of the names."""
        found = {}
        for place, data in self.contents().items():
            if named := [name for name in names if name.encode() in data or name in place]:
                found[place] = named[0]
        return found

    def _objects(self) -> Iterator[tuple[str, bytes]]:
        s3 = client("s3", self.settings)
        for row in s3.list_object_versions(Bucket=self.settings.lake_bucket).get("Versions", ()):
            body = s3.get_object(Bucket=self.settings.lake_bucket, Key=row["Key"], VersionId=row["VersionId"])["Body"]
            data = body.read()
            if data[:2] == b"\x1f\x8b":
                data = gzip.decompress(data)
            elif data[:4] == b"PAR1" == data[-4:]:
                data += repr(pq.read_table(pa.BufferReader(data)).to_pydict()).encode()
            yield f"s3 {row['Key']} {row['VersionId']}", data

    def _redis(self) -> Iterator[tuple[str, bytes]]:
        for key in self.stores.cluster.scan(f"{self.name}:*"):
            yield f"redis {key.decode()}", self.stores.cluster.get_many([key.decode()])[0] or b""

    def _rows(self) -> Iterator[tuple[str, bytes]]:
        pages = client("dynamodb", self.settings).get_paginator("scan").paginate(TableName=self.settings.dynamodb_table)
        for page in pages:
            for item in page["Items"]:
                if item["pk"]["S"].startswith(f"{self.name}#"):
                    yield f"row {item['pk']['S']}", repr(item).encode()


@pytest.fixture
def shop(place: Any) -> Iterator[Shop]:
    """A shop in which Ada and Bob did things."""
    name = next(place.shops)
    base = Settings.from_properties(
        {g["PropertyGroupId"]: g["PropertyMap"] for g in json.loads(place.direct.read_text())}
    )
    settings = replace(base, lake_bucket=f"lake-{name}", shops=(name,))
    s3 = client("s3", settings)
    s3.create_bucket(Bucket=settings.lake_bucket, CreateBucketConfiguration={"LocationConstraint": settings.aws_region})
    s3.put_bucket_versioning(Bucket=settings.lake_bucket, VersioningConfiguration={"Status": "Enabled"})
    stores = Stores(Objects.from_settings(settings), place.stores.tables, place.stores.cluster)
    shop = Shop(name, settings, stores)
    _fill_lake(shop)
    _fill_online(shop)
    yield shop


def _fill_lake(shop: Shop) -> None:
    put, own = shop.stores.objects.put, {"shop_id": shop.name}
    day = "events/year=2026/month=02/day=01"
    put(f"{day}/a.gz", gzip.compress(b"\n".join([
        event(ADA, None, **own), event("bob", None, **own), event(ADA, OLD, **own), event(ADA, None, **own, note="é"),
    ]) + b"\n"))  # fmt: skip
    put("events/year=2025/month=12/day=01/old.gz", gzip.compress(event(None, OLD, NOW - timedelta(days=62), **own)))
    put(f"{day}/b.gz", gzip.compress(b"\n".join([
        event(None, PHONE, **own), event(ADA, PHONE, kind="identify", **own), event("bob", PHONE, **own),
        event(ADA, None, LATER, **own), event(ADA, None, shop_id="elsewhere"), b'{"user_id":"' + ADA.encode() + b'",',
    ])))  # fmt: skip
    put(f"{day}/bob.gz", gzip.compress(event("bob", None, **own)))
    root = f"shop={shop.name}/"
    at = "year=2026/month=02/day=01/hour=09"
    names = [f"u.{ADA}", "u.bob", f"a.{LAPTOP}"]
    put(f"{root}dataset=served/{at}/part-0", parquet(subject=names, occurred_ms=[5] * 3, received_ms=[5] * 3))
    for dataset in ("features", "features-compact"):
        starts = pa.array([EARLIER.replace(tzinfo=None)] * 3, pa.timestamp("ms"))
        put(f"{root}dataset={dataset}/entity=user/{at}/f.parquet", parquet(entity_id=names, window_start=starts))
    put("shop=_unknown/dataset=dead-letter/" + at + "/part-0", parquet(data=[event(ADA, None, **own)[:-1], b"{"]))
    for version in VERSIONS:
        put(f"{model_prefix(shop.name, version)}manifest.json", b"{}")
        put(people_path(shop.name, version), gzip.compress(json.dumps(names).encode()))
    put(visitors_path(shop.name), json.dumps([ADA, "bob"]).encode())


def _fill_online(shop: Shop) -> None:
    act = Action(int(EARLIER.timestamp() * 1000), "e", "view", "i1")
    values = {
        f"u.{ADA}": UserValue(rev="0" * 16, actions=[act], aliases={PHONE: 5}),
        f"a.{PHONE}": UserValue(rev="0" * 16, actions=[act], owner=Owner(5, f"u.{ADA}")),
        f"a.{LAPTOP}": UserValue(rev="0" * 16, actions=[act]),
        "u.bob": UserValue(rev="0" * 16, actions=[act]),
    }
    rows = [(user_key(shop.name, who), encode_value(value), 6000) for who, value in values.items()]
    rows += [(alias_key(shop.name, name), f"u.{ADA}".encode(), 6000) for name in (PHONE, LAPTOP)]
    rows += [(alias_key(shop.name, "bobs"), b"u.bob", 6000)]
    people = (f"u.{ADA}", f"a.{PHONE}", "u.bob")
    rows += [(batch_key(shop.name, version, who), LIST, 6000) for version in VERSIONS for who in people]
    shop.stores.cluster.set_many(rows)
    later = int(datetime.now(UTC).timestamp()) + 6000
    versions = (*VERSIONS, PRUNED)
    shop.stores.tables.put_many([(batch_row(shop.name, v, who), LIST, later) for v in versions for who in people])
    shop.stores.objects.put(f"{model_prefix(shop.name, PRUNED)}manifest.json", b"{}")
    assert prune_versions(shop.stores.objects, shop.name, 2, VERSIONS) == [PRUNED]


def left_of(shop: Shop) -> dict[str, str]:
    """Where Ada still is, without what was done after the request and in another shop."""
    found = {}
    for place, data in shop.contents().items():
        lines = [
            line for line in data.split(b"\n") if b'"elsewhere"' not in line and LATER.isoformat().encode() not in line
        ]
        if any(name.encode() in line for name in NAMES for line in lines) or any(name in place for name in NAMES):
            found[place] = place
    return found


def test_after_a_deletion_no_byte_of_any_store_names_the_person(shop: Shop) -> None:
    before = set(shop.holding(*NAMES))
    assert len({place.split()[0] for place in before}) == 3 and len(before) >= 20
    deletion = shop.ask()
    assert shop.run(wait=False) == [] and open_deletions(shop.stores.objects, shop.name)[0].state == "waiting"
    # What was on its way: Firehose's last object, a window's file, a list of a training that ran, a replayed value.
    objects = shop.stores.objects
    objects.put("events/year=2026/month=02/day=01/late.gz", gzip.compress(event(None, LAPTOP, shop_id=shop.name)))
    names = [f"u.{ADA}", "u.bob"]
    at = "year=2026/month=02/day=01/hour=12"
    objects.put(
        f"shop={shop.name}/dataset=served/{at}/part-1", parquet(subject=names, occurred_ms=[5] * 2, received_ms=[5] * 2)
    )
    shop.stores.cluster.set_many([(batch_key(shop.name, VERSIONS[1], f"u.{ADA}"), LIST, 6000)])
    (receipt,) = shop.run()
    assert left_of(shop) == {}
    assert receipt.state == "done" and receipt.asked_by == "k" and len(receipt.names) == 4
    counts: dict[str, int] = {}
    for removal in receipt.removed:
        counts[f"{removal.store} {removal.what}"] = counts.get(f"{removal.store} {removal.what}", 0) + removal.count
    assert counts == {
        "redis live values": 3,
        "redis aliases": 2,
        "redis batch lists": 5,
        "dynamodb batch lists": 6,
        "s3 events": 3 + 1 + 4 + 1,
        "s3 rows": 2 + 2 + 2 + 1 + 1,
        "s3 names": 2 + 2 + 1,
    }
    assert all(NOW <= removal.at <= shop.now for removal in receipt.removed)
    assert load_receipt(objects, shop.name, deletion) == receipt and not [
        n for n in NAMES if n in receipt_text(receipt)
    ]
    stones = decode_tombstones(objects.get(tombstones_path(shop.name)))
    assert all(stones.covers(shop.name, who, 5, 5) for who in (f"u.{ADA}", f"a.{OLD}")) and len(stones.people) == 4


def test_others_keep_all_they_had_and_the_person_may_come_back(shop: Shop) -> None:
    shop.ask()
    before = {place.rpartition(" ")[0] if place.startswith("s3") else place for place in shop.holding("bob")}
    shop.run(wait=False)
    moment = int(LATER.timestamp() * 1000)
    back = encode_value(UserValue(rev="0" * 16, actions=[Action(moment, "e", "view", "i1")]))
    shop.stores.cluster.set_many([(user_key(shop.name, f"u.{ADA}"), back, 6000)])
    shop.run()
    after = {place.rpartition(" ")[0] if place.startswith("s3") else place for place in shop.holding("bob")}
    assert after == before
    assert shop.stores.cluster.get_many([user_key(shop.name, f"u.{ADA}")]) == [back]
    lines = gzip.decompress(shop.stores.objects.get("events/year=2026/month=02/day=01/b.gz")).split(b"\n")
    assert [json.loads(line).get("user_id") for line in lines] == ["bob", ADA, ADA]
    table = sift(lines[:1], (NOW - datetime.fromtimestamp(0, UTC)).days, shop.name, 1)
    assert table.column("subject").to_pylist() == ["u.bob"]  # the trainer reads what is left


class Killed(BaseException):
    """No handler of the code under test catches it, as none catches a SIGKILL."""


def _killer(shop: Shop, after: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the process die at its ``after``-th write to S3: before it on even numbers, after it on odd ones."""
    count = [0]

    def wrap(name: str) -> None:
        write = getattr(Objects, name)

        def dying(self: Objects, *args: Any) -> Any:
            count[0] += 1
            if count[0] == after and after % 2 == 0:
                raise Killed
            done = write(self, *args)
            if count[0] == after:
                raise Killed
            return done

        monkeypatch.setattr(Objects, name, dying)

    for name in ("put", "replace", "delete"):
        wrap(name)
    return monkeypatch.undo


def test_killed_at_any_write_it_ends_as_if_it_had_not_been(
    shop: Shop, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletion = shop.ask()
    kills = 0
    for after in range(1, 60):
        undo = _killer(shop, after, monkeypatch)
        try:
            shop.run()
            break
        except Killed:
            kills += 1
        finally:
            undo()
    else:
        pytest.fail("it never came to an end")
    assert kills > 5 and left_of(shop) == {}
    receipt = load_receipt(shop.stores.objects, shop.name, deletion)
    assert receipt is not None and receipt.state == "done"
    counts = {r.where.rpartition("/")[2]: r.count for r in receipt.removed if r.store == "s3" and r.what == "events"}
    assert counts == {"a.gz": 3, "b.gz": 4, "old.gz": 1}
    assert shop.stores.objects.list(f"{forgotten_prefix(shop.name)}open/") == []


def test_a_second_request_is_the_same_deletion_and_a_later_one_finds_nothing(shop: Shop) -> None:
    first = shop.ask()
    assert shop.ask() == first
    shop.run()
    shop.now += timedelta(days=1)
    assert shop.ask() != first
    (receipt,) = shop.run()
    assert [r for r in receipt.removed if r.store != "s3"] == []


def test_a_visitor_who_signed_in_since_is_deleted_with_the_user_only(shop: Shop) -> None:
    with pytest.raises(ContractError, match="delete the user"):
        ask(shop.stores.objects, shop.stores.cluster, shop.name, user_id=None, anonymous_id=PHONE, now=NOW)
    assert open_deletions(shop.stores.objects, shop.name) == []


def test_an_object_that_cannot_be_read_is_named_and_all_others_are_clean(shop: Shop) -> None:
    path = f"shop={shop.name}/dataset=served/year=2026/torn.parquet"
    shop.stores.objects.put(path, b"PAR1 torn")
    shop.ask()
    with pytest.raises(ContractError, match=r"torn\.parquet"):
        shop.run()
    assert not [
        place for place in left_of(shop) if "/forgotten/open/" not in place and not place.startswith(("redis", "row"))
    ]
    shop.stores.objects.delete(path)
    assert shop.run()[0].state == "done"
    assert left_of(shop) == {}


def test_a_deletion_that_empties_a_file_or_is_stuck_hinders_no_other(shop: Shop) -> None:
    objects, folder = shop.stores.objects, f"shop={shop.name}/dataset=served/year=2026/"
    none = pa.array([], pa.string())
    objects.put(f"{folder}alone", parquet(subject=[f"u.{ADA}"], user_id=[ADA]))
    objects.put(f"{folder}empty", parquet(subject=none, user_id=none))
    objects.put(f"{folder}torn", b"PAR1 torn")
    first = shop.ask()
    second = ask(objects, shop.stores.cluster, shop.name, user_id="grace", anonymous_id=None, now=NOW, asked_by="k").id
    with pytest.raises(ContractError, match="torn"):
        shop.run()
    assert {line.split(",")[0] for line in shop.said if line.endswith("requested")} >= {
        f"deletion {name}" for name in (first, second)
    }
    left = set(objects.list(folder))
    assert f"{folder}alone" not in left and {f"{folder}empty", f"{folder}torn"} <= left
    objects.delete(f"{folder}torn")
    assert {receipt.id: receipt.state for receipt in shop.run()} == {first: "done", second: "done"}


def test_the_command_deletes_and_shows_the_receipt(shop: Shop, tmp_path: Any, capsys: Any) -> None:
    file = tmp_path / "p.json"
    quick = replace(shop.settings, streaming=replace(shop.settings.streaming, pointer_poll_s=0.01))
    file.write_text(json.dumps(to_properties(quick)))
    where = ["--properties", str(file), "--shop", shop.name]
    with pytest.MonkeyPatch.context() as patch, suppress(SystemExit):
        patch.setattr("batch.forget.timing_of", lambda _: Timing(0.0))
        assert main(["ask", "--user", ADA, "--sweep-after", "0", *where]) == 0
    text = capsys.readouterr().out
    assert "Deletion" in text and "live values" in text and not [name for name in NAMES if name in text]
    assert main(["list", *where]) == 0
    deletion = capsys.readouterr().out.split()[0]
    assert main(["show", deletion, "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    assert shop.stores.objects.list(receipt_path(shop.name, deletion)) and main(["show", "nope", *where]) == 4
