"""Ways to Redis: the URL, TLS and Sentinel."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from redis_server import RedisServer, free_port, redis_server
from store_bench import settings_for
from support import wait_until

from rmqcluster.config.settings import RedisSettings, Secret, Settings
from rmqcluster.core.actions import ReleaseLease, TakeLease
from rmqcluster.errors import ConfigurationError, StoreUnavailable
from rmqcluster.store.address import Login, read_address
from rmqcluster.store.redis_store import RedisStore


def by_url(url: str) -> Settings:
    return replace(settings_for(1), redis=RedisSettings(url=Secret(url)))


def places_of(url: str) -> tuple[tuple[str, int], ...]:
    return read_address(RedisSettings(url=Secret(url))).places


def test_the_parts_are_used_without_a_url():
    """Host, port, user and password come from their own settings."""
    address = read_address(RedisSettings("h", 1, "u", Secret("p")))
    assert (address.places, address.login, address.tls) == ((("h", 1),), Login("u", Secret("p")), False)


def test_a_url_carries_everything():
    """User, password (percent-encoded), host, port, database and TLS come from the URL."""
    address = read_address(RedisSettings(url=Secret("rediss://us%40er:p%2Fw@host:6390/3?ssl_ca_certs=/ca.pem")))
    assert address.places == (("host", 6390),)
    assert address.login == Login("us@er", Secret("p/w"))
    assert (address.database, address.tls, address.tls_files) == (3, True, {"ssl_ca_certs": "/ca.pem"})


def test_a_url_without_a_port_has_the_default_one():
    """6379 for Redis, 26379 for Sentinels; an IPv6 address stands in brackets."""
    assert places_of("redis://h") == (("h", 6379),)
    assert places_of("redis://[::1]:7000") == (("::1", 7000),)
    assert places_of("redis+sentinel://:p@s1,s2:7/mymaster") == (("s1", 26379), ("s2", 7))


def test_sentinels_have_a_login_of_their_own():
    """The URL's login is for Redis; the Sentinels' one is an option."""
    url = "redis+sentinel://u:p@s1,s2/fog/2?sentinel_username=w&sentinel_password=x&tls=true"
    address = read_address(RedisSettings(url=Secret(url)))
    assert (address.service, address.database, address.tls) == ("fog", 2, True)
    assert (address.login, address.sentinel_login) == (Login("u", Secret("p")), Login("w", Secret("x")))


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis://",
        "redis://:canary@h:notaport",
        "redis://:canary@h/database",
        "redis://:canary@h?ssl_ca_certs=/x",
        "rediss://:canary@h?ssl_cert_reqs=none",
        "rediss://:canary@h?ssl_check_hostname=false",
        "redis+sentinel://:canary@h",
        "redis+sentinel://:canary@h/fog?tls=perhaps",
        "redis://[canary",
    ],
)
def test_a_malformed_url_is_named_not_shown(url: str):
    """The message says which setting and what is wrong, without the URL; verification cannot be switched off."""
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: ") as caught:
        read_address(RedisSettings(url=Secret(url)))
    assert "canary" not in str(caught.value)


@pytest.mark.redis
def test_a_url_reaches_its_database(server: RedisServer):
    """The number after the host is the database."""
    settings = by_url(f"redis://127.0.0.1:{server.port}/5")
    store = RedisStore(settings, node="rabbit@a", instance="i")
    assert store.apply(TakeLease(0))
    store.close()
    with server.admin(db=5) as admin:
        assert admin.exists(f"{settings.prefix}:monitor:lease")


@pytest.mark.redis
def test_sentinels_lead_to_the_master_and_to_the_next_one(tmp_path: Path):
    """The master is asked of the Sentinels at each connection, so a failover needs no restart of ours."""
    with (
        redis_server(tmp_path, name="first") as first,
        redis_server(tmp_path, "--replicaof", "127.0.0.1", str(first.port), name="second") as second,
    ):
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(f"sentinel monitor fog 127.0.0.1 {first.port} 1\n")
        with sentinel(tmp_path, configuration) as guard:
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{guard.port}/fog"
            store = RedisStore(by_url(url), node="rabbit@a", instance="i")
            assert store.apply(TakeLease(0))
            with second.admin() as replica:
                wait_until(lambda: replica.info("replication").get("master_link_status") == "up", 10, "replicated")
                wait_until(lambda: len(replica.keys()) >= 2, 10, "the lease is on the replica")
            with guard.admin() as control:
                wait_until(lambda: control.sentinel_slaves("fog"), 20, "the Sentinel knows the replica")
                control.execute_command("SENTINEL", "FAILOVER", "fog")
                wait_until(lambda: control.sentinel_get_master_addr_by_name("fog")[1] == second.port, 30, "failover")
            wait_until(lambda: beyond(store), 30, "the new master takes writes")
            store.close()
            with second.admin() as promoted:
                assert promoted.info("replication")["role"] == "master"


def sentinel(directory: Path, configuration: Path):
    """A Sentinel is a redis-server too; its options come after its file."""
    return redis_server(directory, "--sentinel", name="sentinel", configuration=configuration)


def beyond(store: RedisStore) -> bool:
    """A write has gone through: the lease that the old master gave is released."""
    try:
        store.apply(ReleaseLease("test"))
    except StoreUnavailable:
        return False
    return store.read_lease() is None


class Authority:
    """A certificate authority for one test."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self.certificate, self._key = directory, directory / f"{name}.pem", directory / f"{name}.key"
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "2",
            "-keyout", self._key, "-out", self.certificate)  # fmt: skip

    def sign(self, name: str, address: str) -> tuple[Path, Path]:
        key, request, certificate = (self._directory / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        extension = self._directory / f"{name}.ext"
        extension.write_text(f"subjectAltName={address}\n")
        run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        run("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-days", "2", "-extfile", extension, "-out", certificate)  # fmt: skip
        return certificate, key


def run(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@pytest.mark.redis
def test_tls_is_verified(tmp_path: Path):
    """Only a certificate of the known authority for the very host is taken, and nothing falls back to plain text."""
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    certificate, key = ours.sign("server", "IP:127.0.0.1")
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    options += ("--tls-ca-cert-file", str(ours.certificate), "--tls-auth-clients", "no")
    with redis_server(tmp_path, *options) as plain:

        def reach(url: str) -> None:
            store = RedisStore(by_url(url), node="rabbit@a", instance="i")
            try:
                store.snapshot()
            finally:
                store.close()

        reach(f"rediss://127.0.0.1:{port}?ssl_ca_certs={ours.certificate}")
        for url in (
            f"rediss://127.0.0.1:{port}",
            f"rediss://127.0.0.1:{port}?ssl_ca_certs={theirs.certificate}",
            f"rediss://localhost:{port}?ssl_ca_certs={ours.certificate}",
            f"rediss://127.0.0.1:{plain.port}?ssl_ca_certs={ours.certificate}",
        ):
            with pytest.raises(StoreUnavailable):
                reach(url)
