"""One deletion from start to end: resumable, and done only after a second look at what was on its way."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import msgspec

from batch.forget_files import DELETE, Cleaned, clean, kind_of, prefixes_of
from batch.forget_lines import people_of
from batch.publish import Stores
from contracts.errors import ChangedMeanwhile, ContractError, StoreError
from contracts.forgetting import Deletion, Receipt, Removal, open_path, receipt_path
from contracts.settings import Settings
from stores.forgetting import bury, forget_online, load_receipt, names_in_redis, receipt_of, save, versions_of
from stores.objects import NotFound, Objects
from stores.retry import delays

__all__ = ["Timing", "forget", "timing_of"]

_TOGETHER: Final = 32
_SKEW: Final = timedelta(minutes=2)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """``settle_s``: how long the stream may take to see a tombstone and finish what it has in its hands.

    ``sweep_after_s``: how long after the request something of the person may still be written to the lake: Firehose's
    buffer, the windows' delay, a checkpoint, and a training that began before.
    """

    settle_s: float
    sweep_after_s: float = 2 * 3600.0


def timing_of(settings: Settings) -> Timing:
    """The times that fit a deployment's settings."""
    return Timing(settle_s=2 * settings.streaming.pointer_poll_s + 10)


@dataclass(slots=True)
class _Work:
    stores: Stores
    deletion: Deletion
    timing: Timing
    say: Say
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def objects(self) -> Objects:
        return self.stores.objects

    def note(self, key: str, removal: Removal) -> None:
        """Add to the receipt; the same piece of work, done again after a kill, counts once."""
        self.deletion.notes[key] = removal

    def save(self) -> None:
        save(self.objects, self.deletion)


def forget(
    stores: Stores,
    deletion: Deletion,
    timing: Timing,
    *,
    say: Say = print,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
    wait: bool = False,
) -> Receipt | None:
    """Do what is due of a deletion; returns the receipt once it is done, ``None`` while it waits for its second look.

    Killed anywhere, the next call goes on: every step may be repeated, and each object changes by one PUT or DELETE.

    Args:
        wait: stay until the second look is due, instead of leaving it to the next run.

    Raises:
        ContractError: some objects cannot be read; all others are clean.
        StoreError: a store did not answer; call it again.
    """
    work = _Work(stores, deletion, timing, say, now, sleep)
    if deletion.state == "done":  # killed before the request was gone
        _close(stores.objects, deletion)
        return load_receipt(stores.objects, deletion.shop, deletion.id)
    if deletion.state in ("requested", "removing"):
        deletion.state = "removing"
        _names(work)
        bury(stores.objects, deletion.shop, deletion.subjects, deletion.requested_at)
        _online(work, "at once")
        _lake(work, "lake", None)
        _settle(work)
        _online(work, "after the stream settled")
        deletion.state, deletion.cursor = "waiting", ""
        deletion.due_at = deletion.requested_at + timedelta(seconds=timing.sweep_after_s)
        work.save()
    assert deletion.due_at is not None
    if (left := (deletion.due_at - now()).total_seconds()) > 0:
        if not wait:
            return None
        say(f"waiting {left:.0f} s for what was on its way")
        sleep(left)
    _names(work)
    _lake(work, "sweep", deletion.swept_from)
    _online(work, "in the end")
    return _finish(work)


def _names(work: _Work) -> None:
    """All visitors that Redis says the person was; noted before anything that says so is deleted."""
    if found := names_in_redis(work.stores.cluster, work.deletion):
        _take_in(work, found)


def _take_in(work: _Work, found: Sequence[str]) -> None:
    """Visitors that turned out to be the person: kept first, then buried as well."""
    deletion = work.deletion
    deletion.anonymous_ids += [name for name in sorted(found) if name not in deletion.anonymous_ids]
    work.save()
    bury(work.objects, deletion.shop, deletion.subjects, deletion.requested_at)


def _online(work: _Work, when: str) -> None:
    deletion = work.deletion
    versions = versions_of(work.objects, deletion.shop)
    removed = forget_online(
        work.stores.cluster, work.stores.tables, deletion, versions, work.now(), spare_new=deletion.state == "waiting"
    )
    for removal in removed:
        work.note(f"{removal.store} {removal.where} {when}", removal)
    if removed:
        work.save()
    work.say(f"Redis and {work.stores.tables.kind}, {when}: {sum(r.count for r in removed)} values and lists removed")


def _settle(work: _Work) -> None:
    """Wait until every part of the stream has seen the tombstones; what it wrote meanwhile is removed after that."""
    left = work.timing.settle_s - (work.now() - work.deletion.requested_at).total_seconds()
    if left > 0:
        work.sleep(left)


def _lake(work: _Work, phase: str, since: datetime | None) -> None:
    """Look at every object once, or at those written since; again from the start where visitors were found."""
    deletion = work.deletion
    if deletion.phase != phase:
        deletion.phase, deletion.cursor, deletion.looked_at = phase, "", 0
        if phase == "lake":
            deletion.swept_from = work.now() - _SKEW
    while True:
        known = len(deletion.anonymous_ids)
        for part in _parts(_paths(work, since)):
            _clean_part(work, part)
            deletion.cursor = _place(work, part[-1])
            deletion.looked_at += len(part)
            if deletion.looked_at % (32 * _TOGETHER) == 0:
                work.save()
                work.say(f"lake: {deletion.looked_at:,} objects looked at")
        deletion.cursor = ""
        if len(deletion.anonymous_ids) == known:
            break
        work.say(f"lake: {len(deletion.anonymous_ids) - known} more visitors were this person, looking again")
        since = None
    work.save()
    if work.unreadable:
        path, why = next(iter(work.unreadable.items()))
        message = (
            f"{len(work.unreadable)} objects cannot be read, so nobody knows whether the person is in them, such as "
            f"{path}: {why}; all others are clean; mend or delete these, then run this again"
        )
        raise ContractError(message)
    count = sum(removal.count for removal in deletion.notes.values() if removal.store == "s3")
    work.say(f"lake: {deletion.looked_at:,} objects looked at, {count:,} events, rows and names removed so far")


def _place(work: _Work, path: str) -> str:
    """Where a path comes in the order of :func:`_paths`; text, so that it can be kept."""
    at = next(i for i, prefix in enumerate(prefixes_of(work.deletion.shop)) if path.startswith(prefix))
    return f"{at} {path}"


def _paths(work: _Work, since: datetime | None) -> Iterator[str]:
    for at, prefix in enumerate(prefixes_of(work.deletion.shop)):
        for path, written in sorted(work.objects.modified(prefix).items()):
            if kind_of(path) and f"{at} {path}" > work.deletion.cursor and (since is None or written >= since):
                yield path


def _parts(paths: Iterator[str]) -> Iterator[list[str]]:
    while part := list(islice(paths, _TOGETHER)):
        yield part


def _clean_part(work: _Work, paths: Sequence[str]) -> None:
    """Read some objects side by side; note what will be removed and who was found; only then write."""
    with ThreadPoolExecutor(8) as pool:
        read = [found for found in pool.map(lambda path: _read(work, path), paths) if found]
    if names := set().union(*(cleaned.found for _, _, cleaned in read)) - set(work.deletion.anonymous_ids):
        _take_in(work, sorted(names))
    changed = [(path, tag, cleaned) for path, tag, cleaned in read if cleaned.data is not None]
    if not changed:
        return
    for path, tag, cleaned in changed:
        work.note(f"{path} {tag}", _removal(work, path, cleaned))
    work.save()
    for path, tag, cleaned in changed:
        _write(work, path, tag, cleaned)


def _removal(work: _Work, path: str, cleaned: Cleaned) -> Removal:
    return Removal(store="s3", what=cleaned.what, where=path, count=cleaned.number, at=work.now())


def _read(work: _Work, path: str) -> tuple[str, str, Cleaned] | None:
    deletion = work.deletion
    try:
        data, tag = work.objects.get_tagged(path)
    except NotFound:
        return None
    people = people_of(deletion.shop, deletion.user_id, deletion.anonymous_ids, deletion.requested_at)
    try:
        return path, tag, clean(path, data, deletion, people)
    except (ValueError, OSError, msgspec.MsgspecError) as exc:
        work.unreadable[path] = f"{type(exc).__name__}: {exc}"[:200]
        return None


def _write(work: _Work, path: str, tag: str, cleaned: Cleaned) -> None:
    """Replace an object if it is still what was read; where it is not, look at it again."""
    for _ in delays(5):
        if cleaned.data is None:
            return
        try:
            if cleaned.data == DELETE:
                work.objects.delete(path)
            else:
                work.objects.replace(path, cleaned.data, tag)
            work.objects.purge_versions(path)
            return
        except ChangedMeanwhile:
            again = _read(work, path)
            if again is None:
                return
            _, tag, cleaned = again
    message = f"{path} is changed all the time; stop whoever rewrites it, and run this again"
    raise StoreError(message)


def _close(objects: Objects, deletion: Deletion) -> None:
    """Take the request away, with what a versioned bucket keeps of it; it names nobody before it is deleted."""
    path = open_path(deletion.shop, deletion.id)
    nobody = Deletion(id=deletion.id, shop=deletion.shop, requested_at=deletion.requested_at, state="done")
    objects.put(path, msgspec.json.encode(nobody))
    objects.purge_versions(path)
    objects.delete(path)
    objects.purge_versions(path)


def _finish(work: _Work) -> Receipt:
    """Old versions, the receipt, then the request that names the person: killed between, the next run comes here."""
    deletion, objects = work.deletion, work.objects
    for path in sorted({removal.where for removal in deletion.notes.values() if removal.store == "s3"}):
        objects.purge_versions(path)  # again: a run may have been killed just after it replaced an object
    stones = bury(objects, deletion.shop, deletion.subjects, deletion.requested_at)
    receipt = receipt_of(deletion, stones, done_at=work.now())
    objects.put(receipt_path(deletion.shop, deletion.id), msgspec.json.encode(receipt))
    _close(objects, deletion)
    work.say(f"done: {sum(r.count for r in receipt.removed):,} things removed; receipt {deletion.id}")
    return receipt
