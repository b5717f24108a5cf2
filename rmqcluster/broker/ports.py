"""What this room needs of process handling, as structural protocols: the rooms do not know each other."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


class ChildHandle(Protocol):
    """One child process. `exit_status` is None while it lives, else its exit code, or minus the signal."""

    @property
    def pid(self) -> int: ...

    @property
    def exit_status(self) -> int | None: ...

    def signal(self, number: signal.Signals) -> bool: ...


class Finished(Protocol):
    """How a command ended."""

    @property
    def status(self) -> int | None: ...

    @property
    def stdout(self) -> bytes: ...

    @property
    def stderr(self) -> bytes: ...

    @property
    def timed_out(self) -> bool: ...


class Spawner(Protocol):
    """Starts long-lived children; never blocks."""

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> ChildHandle: ...


class Runner(Protocol):
    """Runs a command to its end or its deadline, from any thread."""

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        deadline_seconds: float,
        input_bytes: bytes = b"",
        cwd: Path | None = None,
    ) -> Finished: ...
