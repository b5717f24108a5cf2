"""`rmqcluster` and `python -m rmqcluster`.

Two commands are answered before anything big is loaded: the container's health check, because it runs every
few seconds, and the supervisor, because it stays and its memory counts.
"""

import os
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    if sys.argv[1:] == ["healthcheck"]:
        from rmqcluster.cli.healthcheck import check

        return check(os.environ)
    if sys.argv[1:] == ["entrypoint"]:
        from rmqcluster.agent.wiring import run_entrypoint

        return run_entrypoint()
    from rmqcluster.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
