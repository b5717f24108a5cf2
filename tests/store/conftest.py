"""The backs that the store's contract runs on; a real server is started once per module and ended with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import RedisServer, redis_server
from store_bench import Bench, Member, MemoryBench, RedisBench, fake_bench, settings_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def real_bench(server: RedisServer) -> Iterator[RedisBench]:
    raw = server.admin()
    raw.flushall()
    bench = RedisBench(raw, settings_for(server.port), None)
    yield bench
    bench.close()


@pytest.fixture(params=["memory", "fakeredis", pytest.param("redis", marks=pytest.mark.redis)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
    elif request.param == "redis":
        yield request.getfixturevalue("real_bench")
    else:
        fake = fake_bench()
        yield fake
        fake.close()


@pytest.fixture
def a(bench: Bench) -> Member:
    return Member(bench, "a")


@pytest.fixture
def b(bench: Bench) -> Member:
    return Member(bench, "b")


@pytest.fixture
def c(bench: Bench) -> Member:
    return Member(bench, "c")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path
