"""The shared cache: one read at a time for a key, and nobody waits for what is already there."""

import asyncio

from serving.cached import Cached


def test_many_callers_cause_one_read_until_the_value_is_old() -> None:
    reads: list[int | None] = []
    now = [0.0]

    async def read(key: str, last: int | None) -> int:
        reads.append(last)
        await asyncio.sleep(0)
        return len(reads)

    async def scenario() -> list[list[int | None]]:
        cached = Cached(read, ttl_s=1.0, clock=lambda: now[0])
        first = await asyncio.gather(*(cached.get("k") for _ in range(10)))
        now[0] = 1.5
        return [first, await asyncio.gather(*(cached.get("k") for _ in range(3)))]

    first, second = asyncio.run(scenario())
    assert first == [1] * 10
    assert sorted(second) == [1, 1, 2]  # the one that reads anew, and two that are not kept waiting
    assert reads == [None, 1]


def test_the_number_of_keys_is_bounded() -> None:
    async def read(key: int, last: int | None) -> int:
        return key

    async def scenario() -> int:
        cached: Cached[int, int] = Cached(read, ttl_s=60.0, keep=3)
        for key in range(10):
            assert await cached.get(key) == key
        return len(cached._values)

    assert asyncio.run(scenario()) == 3
