"""Which images `make build` takes, by a `docker` that has nothing and can pull nothing."""

import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent.parent
DOCKER = """#!/bin/sh
case "$1 $2" in
  "version ") exit 0 ;;
  "image inspect") case $* in *here*) exit 0 ;; esac ;;
  "pull -q") echo "denied: log in first" >&2 ;;
esac
exit 1
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """In front of the real ones; no stand-in can be made."""
    for name, text in (("docker", DOCKER), ("debootstrap", "#!/bin/sh\nexit 1\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def images(programs: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(programs), **variables}
    argv = [str(TOP / "scripts" / "images.sh"), "redis"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=environment)


def test_an_image_that_is_here_is_taken(programs: Path) -> None:
    """Nothing is pulled for it."""
    done = images(programs, REDIS_IMAGE="here:1")

    assert (done.returncode, done.stdout) == (0, "REDIS_IMAGE=here:1\n")


def test_an_image_that_is_asked_for_has_no_stand_in(programs: Path) -> None:
    """Another version would be met by the data of the one that was named: it ends with the reason instead."""
    done = images(programs, REDIS_IMAGE="mine:1")

    assert (done.returncode, done.stdout) == (1, "")
    assert "mine:1 is not here and cannot be pulled: denied: log in first" in done.stderr
    assert "no image for REDIS_IMAGE; load one, or set it to one that is there" in done.stderr
    assert "stand-in" not in done.stderr


def test_only_the_usual_image_has_a_stand_in(programs: Path) -> None:
    """Where no official image can be pulled, one from Debian packages is tried, and that is said."""
    done = images(programs)

    assert done.returncode == 1
    assert "redis:8-alpine is not here and cannot be pulled: denied: log in first" in done.stderr
    assert "a stand-in takes its place" in done.stderr


@pytest.mark.parametrize("line", ["IMAGE=a:1", "IMAGE='a:1'", 'IMAGE="a:1"  ', "#IMAGE=b\nIMAGE=b\nIMAGE=a:1"])
def test_build_reads_dotenv_as_up_does(programs: Path, tmp_path: Path, line: str) -> None:
    """With or without quotes, the last one wins."""
    (tmp_path / "env").write_text(f"{line}\nRABBITMQ_BASE=here:1\nREDIS_IMAGE=here:2\nPOSTGRES_IMAGE=here:3\n")
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "ENV_FILE": str(tmp_path / "env"), "TMPDIR": str(tmp_path)}
    argv = [str(TOP / "scripts" / "build.sh")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=environment)

    assert "build: building a:1 on here:1" in done.stderr
