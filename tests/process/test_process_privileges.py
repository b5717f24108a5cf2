"""Root is given up for good, and what the user needs is handed over; tried in processes of their own."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from rmqcluster.errors import ConfigurationError
from rmqcluster.process.privileges import step_down

ROOT = Path(__file__).parents[2]
USER = "nobody"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can step down")


def as_child(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@root_only
def test_root_becomes_the_user_for_good():
    """All ids and groups change, HOME follows, root cannot be regained, and set-user-id programs give nothing."""
    entry = pwd.getpwnam(USER)
    said = as_child(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from rmqcluster.process.privileges import step_down\n"
        "assert step_down(sys.argv[1])\n"
        "print(os.getresuid(), os.getresgid(), os.getgroups(), os.environ['HOME'], os.environ['USER'])\n"
        "lines = dict(line.split(':', 1) for line in open('/proc/thread-self/status'))\n"
        "print(lines['NoNewPrivs'].strip(), lines['CapEff'].strip(), lines['CapPrm'].strip())\n"
        "try:\n"
        "    os.setuid(0)\n"
        "except PermissionError:\n"
        "    print('not root again')\n",
        USER,
    ).splitlines()

    groups = os.getgrouplist(USER, entry.pw_gid)
    assert said[0] == f"{(entry.pw_uid,) * 3} {(entry.pw_gid,) * 3} {groups} {entry.pw_dir} {USER}"
    assert said[1].split() == ["1", "0" * 16, "0" * 16]
    assert said[2] == "not root again"


@root_only
def test_owned_paths_are_handed_over_without_following_links(tmp_path: Path):
    """A volume of another owner is given to the user with all below it; what links point to is left alone."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    volume = tmp_path / "volume"
    (volume / "a" / "b").mkdir(parents=True)
    (volume / "a" / "b" / "data").touch()
    (volume / "link").symlink_to(outside / "file")
    (volume / "a" / "directory-link").symlink_to(outside)
    single = tmp_path / "single"
    single.touch()
    as_child(
        "import sys\n"
        "from pathlib import Path\n"
        "from rmqcluster.process.privileges import step_down\n"
        "step_down(sys.argv[1], [Path(p) for p in sys.argv[2:]])\n",
        *(USER, volume, single, tmp_path / "made-later"),
    )

    uid = pwd.getpwnam(USER).pw_uid
    for path in (volume, volume / "a", volume / "a" / "b", volume / "a" / "b" / "data", single):
        assert path.stat().st_uid == uid
    assert {outside.stat().st_uid, (outside / "file").stat().st_uid} == {0}
    assert not (tmp_path / "made-later").exists()


@root_only
def test_volume_that_is_the_users_already_is_not_walked(tmp_path: Path):
    """Only the top is looked at: a large volume costs nothing at every start."""
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, pwd.getpwnam(USER).pw_uid, -1)
    (volume / "file").touch()
    as_child(
        "import sys\n"
        "from pathlib import Path\n"
        "from rmqcluster.process.privileges import step_down\n"
        "step_down(sys.argv[1], [Path(sys.argv[2])])\n",
        *(USER, volume),
    )

    assert (volume / "file").stat().st_uid == 0


@root_only
def test_link_in_place_of_a_volume_is_refused(tmp_path: Path):
    """Root follows no link that somebody else may have put there."""
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        step_down(USER, [tmp_path / "link"])
    assert os.geteuid() == 0


@root_only
def test_unknown_user_is_a_configuration_error():
    """Without the broker's user root is not kept in silence."""
    with pytest.raises(ConfigurationError, match="no user no-such-user"):
        step_down("no-such-user")


@root_only
def test_without_root_nothing_is_done():
    """Started as an ordinary user there is nothing to give up, and no user to look up."""
    said = as_child(
        "import os, sys\n"
        "from rmqcluster.process.privileges import step_down\n"
        "os.setuid(65534)\n"
        "home = os.environ.get('HOME')\n"
        "print(step_down('no-such-user'), os.environ.get('HOME') == home)\n"
    )
    assert said == "False True"


def test_no_core_dumps():
    """No core file, and a process whose memory cannot be dumped or read by others of the same user."""
    said = as_child(
        "import ctypes, resource\n"
        "from rmqcluster.process.privileges import no_core_dumps\n"
        "no_core_dumps()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    assert said == "(0, 0) 0"
