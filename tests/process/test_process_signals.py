"""A select loop is woken by signals and threads, and loses neither."""

import os
import select
import signal
import threading

import pytest

from rmqcluster.process.signals import Wakeup


@pytest.fixture
def wakeup():
    with Wakeup() as made:
        yield made


def test_signal_wakes_and_is_told_once(wakeup: Wakeup):
    """A signal makes the descriptor readable, is reported by one drain, and the descriptor is quiet again."""
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGHUP)

    assert wakeup.wait(5)
    assert wakeup.drain() == {signal.SIGTERM, signal.SIGHUP}
    assert not wakeup.wait(0)
    assert wakeup.drain() == frozenset()


def test_signal_that_another_thread_receives_wakes_the_loop(wakeup: Wakeup):
    """The kernel may give a signal to any thread; the loop's select ends all the same."""
    timer = threading.Thread(
        target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM),
    )
    timer.start()
    readable, _, _ = select.select([wakeup], [], [], 10)
    timer.join()

    assert readable == [wakeup]
    assert signal.SIGTERM in wakeup.drain()


def test_thread_wakes_the_loop(wakeup: Wakeup):
    """`wake` ends the wait from another thread and reports no signal."""
    thread = threading.Thread(target=wakeup.wake)
    thread.start()

    assert wakeup.wait(10)
    thread.join()
    assert wakeup.drain() == frozenset()


def test_flood_neither_blocks_nor_loses_a_signal(wakeup: Wakeup):
    """A full pipe blocks no waker, and a signal that finds it full is still reported."""
    for _ in range(100_000):
        wakeup.wake()
    os.kill(os.getpid(), signal.SIGHUP)

    assert wakeup.drain() == {signal.SIGHUP}


def test_close_gives_the_handlers_back():
    """After closing, signals do what they did before."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Wakeup():
        assert signal.getsignal(signal.SIGTERM) != before[0]

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert signal.set_wakeup_fd(-1) == -1
