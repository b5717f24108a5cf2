"""The broker's own words by sd_notify arrive, and nothing in them can hurt."""

import select
import socket
from pathlib import Path

import pytest

from rmqcluster.process.notify import DATAGRAMS_PER_READ_MAX, NotifySocket


@pytest.fixture
def notify(tmp_path: Path):
    made = NotifySocket(tmp_path)
    yield made
    made.close()


def send(notify: NotifySocket, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, str(notify.path))


def test_messages_arrive_in_order_and_never_block(notify: NotifySocket):
    """Each datagram is one dict; without one there is an empty list at once."""
    assert notify.read() == []
    send(notify, b"STATUS=Startup in progress", b"READY=1\nSTATUS=Initialized\nMAINPID=12\n")

    assert select.select([notify], [], [], 5)[0] == [notify]
    assert notify.read() == [
        {"STATUS": "Startup in progress"},
        {"READY": "1", "STATUS": "Initialized", "MAINPID": "12"},
    ]
    assert notify.read() == []


def test_rubbish_is_dropped_and_made_printable(notify: NotifySocket):
    """Oversize datagrams and lines of another form are dropped; control characters do not reach a log."""
    send(notify, b"", b"READY=1 " + b"x" * 4096, b"\xff\xfe", b"=x\nready=1", b"STATUS=a\x1b[2Jb\xff")

    assert notify.read() == [{"STATUS": "a?[2Jb\ufffd"}]


def test_one_read_is_limited(notify: NotifySocket):
    """A sender that never stops does not hold the loop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        sender.connect(str(notify.path))
        sent = 0
        while sent < 2 * DATAGRAMS_PER_READ_MAX:
            try:
                sent += bool(sender.send(b"READY=1"))
            except BlockingIOError:
                break  # the kernel's queue is shorter than our limit
        assert 0 < len(notify.read()) <= DATAGRAMS_PER_READ_MAX


def test_socket_is_private_and_leaves_nothing(tmp_path: Path):
    """Only this user can reach the socket, and closing removes it."""
    notify = NotifySocket(tmp_path)
    (directory,) = tmp_path.iterdir()

    assert directory.stat().st_mode & 0o777 == 0o700
    notify.close()
    assert list(tmp_path.iterdir()) == []
