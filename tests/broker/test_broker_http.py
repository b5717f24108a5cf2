"""A question to a management API has its deadline, whatever it waits for."""

import socket
import threading
import time

import pytest

from rmqcluster.broker import http
from rmqcluster.config.settings import Secret
from rmqcluster.errors import BrokerUnavailable


def test_a_name_server_that_is_gone_does_not_outlast_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody resolves in time is a broker that does not answer in time."""
    end = threading.Event()

    def never_answered(*_: object, **__: object) -> list[object]:
        end.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never_answered)
    started_at = time.monotonic()
    try:
        with pytest.raises(BrokerUnavailable, match=r"rabbitmq2:15672.*could not be resolved in time"):
            http.get_json("rabbitmq2:15672", "/api/nodes", "someone", Secret("x"), deadline_seconds=0.2)
    finally:
        end.set()

    assert time.monotonic() - started_at < 5
