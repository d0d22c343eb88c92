"""The shared cache: one read at a time for a key, and nobody waits for what is already there."""

import asyncio

import pytest

from serving.cached import Cached


def test_many_callers_cause_one_read_until_the_value_is_old() -> None:
    reads: list[int | None] = []
    now = [0.0]

    async def read(key: str, last: int | None) -> int:
        reads.append(last)
        await asyncio.sleep(0)
        return len(reads)

    async def scenario() -> list[list[int | None]]:
        cached = Cached(read, ttl_s=1.0, stale_s=5.0, clock=lambda: now[0])
        found = [await asyncio.gather(*(cached.get("k") for _ in range(10)))]
        now[0] = 1.5  # old, but good enough not to wait for another
        found.append(await asyncio.gather(*(cached.get("k") for _ in range(3))))
        await asyncio.sleep(0.01)
        found.append([await cached.get("k")])
        now[0] = 9.0  # too old
        return [*found, await asyncio.gather(*(cached.get("k") for _ in range(3)))]

    assert asyncio.run(scenario()) == [[1] * 10, [1] * 3, [2], [3] * 3]
    assert reads == [None, 1, 2]


def test_a_read_that_does_not_end_costs_the_callers_time_and_no_more() -> None:
    async def read(key: str, last: str | None) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> tuple[str | None, bool]:
        cached: Cached[str, str] = Cached(read, ttl_s=1.0)
        found = await cached.get("k", wait_s=0.001)
        hanging = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await cached.get("k", wait_s=0.001)
        same = hanging == [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        hanging[0].cancel()
        return found, same

    assert asyncio.run(scenario()) == (None, True)


def test_a_read_that_raises_is_logged_and_the_last_value_stays(caplog: pytest.LogCaptureFixture) -> None:
    now, reads = [0.0], iter([7])

    async def read(key: str, last: int | None) -> int:
        return next(reads)

    async def scenario() -> list[int | None]:
        cached = Cached(read, ttl_s=1.0, stale_s=1.0, clock=lambda: now[0])
        found = [await cached.get("k")]
        now[0] = 9.0
        return [*found, await cached.get("k")]

    assert asyncio.run(scenario()) == [7, 7]
    assert "was not read anew" in caplog.text


def test_the_number_of_keys_is_bounded() -> None:
    async def read(key: int, last: int | None) -> int:
        return key

    async def scenario() -> int:
        cached: Cached[int, int] = Cached(read, ttl_s=60.0, keep=3)
        for key in range(10):
            assert await cached.get(key) == key
        return len(cached._values)

    assert asyncio.run(scenario()) == 3
