"""Runs all tests: those without servers, then those of single brokers, and beside them those of whole clusters, which
mostly wait.

The first failure in front ends both; what the others said is shown when they have ended.
"""

import signal
import subprocess
import sys
import tempfile

PYTEST = [sys.executable, "-m", "pytest"]
CLUSTERS = "tests/integration"
IN_FRONT = (["-m", "not broker"], ["-m", "broker", "--ignore", CLUSTERS])
CLEAN_UP_SECONDS = 120.0


def main() -> int:
    with tempfile.TemporaryFile() as said:
        clusters = subprocess.Popen(
            [*PYTEST, CLUSTERS],
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` leaves it ignored
        )
        try:
            failed = next((code for part in IN_FRONT if (code := subprocess.run([*PYTEST, *part]).returncode)), 0)
            if not failed:
                clusters.wait()
        finally:
            _end(clusters)
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
    return failed or clusters.returncode


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
