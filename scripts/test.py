"""Runs all tests: those without servers in front, and beside them those with real brokers, which mostly wait.

The first failure of a fast test ends both; what the others said is shown when they have ended.
"""

import signal
import subprocess
import sys
import tempfile

PYTEST = [sys.executable, "-m", "pytest"]
CLEAN_UP_SECONDS = 120.0


def main() -> int:
    with tempfile.TemporaryFile() as said:
        real = subprocess.Popen(
            [*PYTEST, "-m", "broker"],
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` leaves it ignored
        )
        try:
            fast = subprocess.run([*PYTEST, "-m", "not broker"]).returncode
            if fast == 0:
                real.wait()
        finally:
            _end(real)
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
    return fast or real.returncode


def _end(real: "subprocess.Popen[bytes]") -> None:
    """As by Ctrl-C, so that its tests end what they began."""
    if real.poll() is not None:
        return
    real.send_signal(signal.SIGINT)
    try:
        real.wait(CLEAN_UP_SECONDS)
    except subprocess.TimeoutExpired:
        real.kill()
        real.wait()


if __name__ == "__main__":
    sys.exit(main())
