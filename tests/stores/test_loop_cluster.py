"""The event loop's cluster on real Valkey: many requests at once, moved slots, servers that stop, end and come back."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from contracts.errors import StoreError
from local import valkey
from serving.breaker import Breaker
from stores.cluster import Cluster
from stores.loop_cluster import LoopCluster, _slot

pytestmark = pytest.mark.serving

KEYS = [f"loop:{n}" for n in range(200)]
LONG_S = 10.0


def pairs(nodes: str) -> list[tuple[str, int]]:
    return [(host, int(port)) for host, port in (node.split(":") for node in nodes.split(","))]


@pytest.fixture(scope="module")
def nodes() -> Iterator[str]:
    """Two servers that hold a value under each key."""
    with valkey.cluster(nodes=2) as nodes:
        writer = Cluster.connect(pairs(nodes))
        writer.set_many([(key, key.encode(), 600) for key in KEYS])
        writer.close()
        yield nodes


def run(nodes: str, scenario: Callable[[LoopCluster], Any], **breaker: Any) -> Any:
    async def main() -> Any:
        cluster = LoopCluster(pairs(nodes), lambda: Breaker(time.monotonic, **breaker))
        try:
            return await scenario(cluster)
        finally:
            cluster.close()

    return asyncio.run(main())


def gets(keys: list[str]) -> list[tuple[Any, ...]]:
    return [("GET", key) for key in keys]


def test_answers_come_to_those_who_asked_however_many_ask_at_once(nodes: str) -> None:
    async def scenario(cluster: LoopCluster) -> list[Any]:
        alone = [cluster.execute(gets([key]), LONG_S) for key in KEYS]
        together = [cluster.execute(gets(KEYS[at : at + 7]), LONG_S) for at in range(0, 190, 5)]
        return list(await asyncio.gather(*alone, *together))

    found = run(nodes, scenario)
    assert found[: len(KEYS)] == [[key.encode()] for key in KEYS]
    assert found[len(KEYS) :] == [[key.encode() for key in KEYS[at : at + 7]] for at in range(0, 190, 5)]


def test_a_refused_command_costs_its_own_answer_alone(nodes: str) -> None:
    async def scenario(cluster: LoopCluster) -> Any:
        return await cluster.execute([("GET", KEYS[0]), ("HGETALL", KEYS[0]), ("GET", "absent")], LONG_S)

    first, wrong, absent = run(nodes, scenario)
    assert (first, absent) == (KEYS[0].encode(), None)
    assert isinstance(wrong, StoreError) and "HGETALL" in str(wrong)


def test_a_map_that_is_out_of_date_is_followed_and_mended(nodes: str) -> None:
    async def scenario(cluster: LoopCluster) -> Any:
        await cluster.execute(gets(KEYS[:1]), LONG_S)
        owners = sorted(set(cluster._slots))
        cluster._slots = [owners[owner == owners[0]] for owner in cluster._slots]  # each slot at the wrong server
        wrong = cluster._slots
        found = await cluster.execute(gets(KEYS), LONG_S)
        for _ in range(200):
            if cluster._slots is not wrong:
                break
            await asyncio.sleep(0.02)
            cluster._remap()
        return found, cluster._slots is not wrong, cluster.well

    assert run(nodes, scenario) == ([key.encode() for key in KEYS], True, True)


def test_one_stopped_server_costs_its_own_keys_and_only_until_it_goes_on(nodes: str) -> None:
    port = pairs(nodes)[0][1]
    children = psutil.Process().children(recursive=True)
    (process,) = [c for c in children if any(x.laddr.port == port for x in c.net_connections() if x.status == "LISTEN")]

    async def scenario(cluster: LoopCluster) -> Any:
        await cluster.execute(gets(KEYS), LONG_S)
        theirs = [key for key in KEYS if cluster._slots[_slot(key)].endswith(f":{port}")]
        others = [key for key in KEYS if key not in theirs]
        process.suspend()
        try:
            stopped = [await cluster.execute(gets([key]), 0.05) for key in theirs[:4]]
            spared = await cluster.execute(gets(others), LONG_S)
            well = cluster.well
        finally:
            process.resume()
        for _ in range(500):
            if not isinstance((await cluster.execute(gets(theirs[:1]), LONG_S))[0], StoreError):
                break
            await asyncio.sleep(0.02)
        back = await cluster.execute(gets(theirs), LONG_S)
        return stopped, spared == [key.encode() for key in others], well, back == [key.encode() for key in theirs]

    stopped, spared, well, back = run(nodes, scenario, failures=3, first_s=0.1, longest_s=0.2)
    assert all(isinstance(answer, StoreError) for (answer,) in stopped)
    assert "left alone" in str(stopped[3][0])  # after three failures nothing is sent there
    assert (spared, well, back) == (True, False, True)


def test_without_any_server_every_command_fails_by_name_and_soon_at_once() -> None:
    async def scenario(cluster: LoopCluster) -> Any:
        return [(await cluster.execute(gets(KEYS[:2]), 0.2)) for _ in range(6)], cluster.well

    answers, well = run("127.0.0.1:1", scenario)
    assert not well
    assert all(isinstance(each, StoreError) and "redis.nodes" in str(each) for answer in answers for each in answer)
