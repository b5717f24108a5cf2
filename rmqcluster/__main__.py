"""`rmqcluster` and `python -m rmqcluster`. The container's health check is answered before anything big is loaded."""

import os
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    if sys.argv[1:] == ["healthcheck"]:
        from rmqcluster.cli.healthcheck import check

        return check(os.environ)
    from rmqcluster.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
