"""The data volume: what counts as data, the marker, the epoch, the cookie."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rmqcluster.broker.account import cookie_fingerprint
from rmqcluster.broker.files import DataVolume, write_cookie
from rmqcluster.config.settings import Paths, Secret, Settings
from rmqcluster.core.model import DiskKind, Marker, Stage
from rmqcluster.errors import ConfigurationError, IdentityRefused

NODE = "rabbit@one"
MEMBER = Marker("c1", Stage.MEMBER, 3, "host-a", ("rabbit@one", "rabbit@two"), (("rabbit@two", "two:15672"),))


@pytest.fixture
def volume(tmp_path: Path) -> DataVolume:
    return DataVolume(Settings(node=NODE, cookie=Secret("c"), paths=Paths(mnesia_base=tmp_path)))


def fill(volume: DataVolume, *names: str, content: str = "") -> None:
    for name in names:
        path = volume.data_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.write_text(content)


VIRGIN_MNESIA = (
    "nodes_running_at_shutdown",
    *(f"quorum/{NODE}/00000001.wal", f"quorum/{NODE}/names.dets", f"quorum/{NODE}/meta.dets"),
    *(f"coordination/{NODE}/00000001.wal", f"coordination/{NODE}/names.dets"),
)
VIRGIN_KHEPRI = (
    *(f"quorum/{NODE}/0000000000000001.wal", f"quorum/{NODE}/writers.snapshot", f"quorum/{NODE}/meta.dets"),
    *(f"coordination/{NODE}/RABBITOAY23JQ76WEK/config", f"coordination/{NODE}/0000000000000001.wal"),
    "rabbitmq_metadata/",
)


@pytest.mark.parametrize("names", [(), VIRGIN_MNESIA, VIRGIN_KHEPRI])
def test_a_boot_that_never_got_past_discovery_leaves_no_data(volume: DataVolume, names: tuple[str, ...]) -> None:
    """What RabbitMQ writes before it joined or founded is worth nothing, with Mnesia and with Khepri."""
    fill(volume, *names)
    if names is VIRGIN_MNESIA:
        fill(volume, "cluster_nodes.config", content="{['rabbit@one'],['rabbit@one']}.\n")

    assert not volume.read().has_data


@pytest.mark.parametrize(
    "name",
    ["schema.DAT", "msg_stores/", "rabbit_serial", "anything", f"quorum/{NODE}/QUEUE1/", f"quorum/{NODE}/0001.segment"],
)
def test_anything_more_is_data(volume: DataVolume, name: str) -> None:
    """Whatever we do not know to be worthless counts as data."""
    fill(volume, *VIRGIN_KHEPRI, name)

    assert volume.read().has_data


def test_a_list_of_other_members_is_data(volume: DataVolume) -> None:
    """A Mnesia node that was told of a peer has been a member, whatever else is missing."""
    fill(volume, "cluster_nodes.config", content="{[rabbit@one,'rabbit@two'],[rabbit@one]}.\n")

    assert volume.read().has_data


def test_marker_is_read_back(volume: DataVolume) -> None:
    """A written marker is read back whole, private to its owner, and makes the disk a member's or an amnesic one."""
    volume.write_marker(MEMBER)
    path = volume.state_dir / "marker.json"

    assert volume.read().marker == MEMBER
    assert path.stat().st_mode & 0o777 == 0o600
    assert volume.read().kind is DiskKind.AMNESIC
    fill(volume, "schema.DAT")
    assert volume.read().kind is DiskKind.DATA


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": 2}', '{"format": 1, "node": "rabbit@other", "cluster_id": "x"}', "x" * 70_000],
)
def test_a_marker_that_cannot_be_understood_is_no_blank_disk(volume: DataVolume, content: str) -> None:
    """A damaged or foreign marker is refused with words, never taken for none."""
    volume.prepare()
    (volume.state_dir / "marker.json").write_text(content)

    with pytest.raises(IdentityRefused, match=r"marker\.json"):
        volume.read()


def test_an_interrupted_write_keeps_the_old_marker(volume: DataVolume) -> None:
    """A half-written file left by a crash neither hides the marker nor stops the next write."""
    volume.write_marker(MEMBER)
    (volume.state_dir / f".marker.json.{os.getpid()}.new").write_text("{")

    assert volume.read().marker == MEMBER
    volume.write_marker(replace(MEMBER, epoch=4))
    assert volume.read().epoch_high == 4


def test_epoch_only_rises(volume: DataVolume) -> None:
    """The highest epoch is kept, also across a marker with a lower one."""
    volume.raise_epoch(7)
    volume.raise_epoch(5)
    volume.write_marker(MEMBER)

    assert volume.read().epoch_high == 7


def test_a_members_data_is_never_emptied(volume: DataVolume) -> None:
    """Emptying refuses when the marker says member."""
    fill(volume, "schema.DAT")
    volume.write_marker(MEMBER)

    with pytest.raises(IdentityRefused, match="member of cluster c1"):
        volume.empty()
    assert (volume.data_dir / "schema.DAT").exists()


def test_emptying_takes_the_brokers_files_and_leaves_ours(volume: DataVolume, tmp_path: Path) -> None:
    """A disposable disk loses its data and side files; marker, epoch and other nodes' files stay."""
    fill(volume, "schema.DAT")
    for name in (f"{NODE}-feature_flags", f"{NODE}.pid", "rabbit@two-feature_flags"):
        (tmp_path / name).write_text("x")
    (tmp_path / f"{NODE}-plugins-expand").mkdir()
    volume.write_marker(replace(MEMBER, stage=Stage.JOINING))
    volume.raise_epoch(9)
    volume.empty()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["rabbit@two-feature_flags", "rmqcluster"]
    assert volume.read().kind is DiskKind.BLANK
    assert volume.read().epoch_high == 9


def test_cookie_is_written_once(tmp_path: Path) -> None:
    """The cookie is readable by its owner alone, the same one is left, another is never overwritten."""
    path = tmp_path / ".erlang.cookie"
    write_cookie(tmp_path, Secret("GOODCOOKIE"))
    before = path.stat().st_ino
    write_cookie(tmp_path, Secret("GOODCOOKIE"))

    assert (path.read_text(), path.stat().st_mode & 0o777, path.stat().st_ino) == ("GOODCOOKIE", 0o400, before)
    with pytest.raises(ConfigurationError, match="another cookie") as refused:
        write_cookie(tmp_path, Secret("OTHERCOOKIE"))
    assert "OTHERCOOKIE" not in str(refused.value)
    assert "GOODCOOKIE" not in str(refused.value)
    assert path.read_text() == "GOODCOOKIE"


def test_cookie_fingerprint_tells_cookies_apart() -> None:
    """Equal cookies have equal fingerprints, others not, and the cookie is not in it."""
    assert cookie_fingerprint(Secret("AAA")) == cookie_fingerprint(Secret("AAA"))
    assert cookie_fingerprint(Secret("AAA")) != cookie_fingerprint(Secret("AAB"))
    assert "AAA" not in cookie_fingerprint(Secret("AAA"))


def test_marker_file_is_json_with_a_format_number(volume: DataVolume) -> None:
    """A later version can tell what it reads."""
    volume.write_marker(MEMBER)

    assert json.loads((volume.state_dir / "marker.json").read_text())["format"] == 1


def put_aside(volume: DataVolume) -> tuple[Path, ...]:
    return tuple(sorted(path for path in volume.state_dir.iterdir() if path.name.startswith("kept-")))


def test_set_aside_keeps_everything_and_leaves_a_blank_disk(volume: DataVolume) -> None:
    """Data, side files and marker move into a dated directory on the same volume; the epoch stays."""
    fill(volume, "schema.DAT", "msg_stores/a", content="precious")
    volume.data_dir.with_name(f"{NODE}-feature_flags").write_text("[].")
    volume.write_marker(MEMBER)

    kept = volume.set_aside()

    disk = volume.read()
    assert (disk.kind, disk.marker, disk.epoch_high) == (DiskKind.BLANK, None, MEMBER.epoch)
    assert kept.parent == volume.state_dir
    assert (kept / NODE / "msg_stores/a").read_text() == "precious"
    assert {path.name for path in kept.iterdir()} == {NODE, f"{NODE}-feature_flags", "marker.json"}


def test_set_aside_never_overwrites(volume: DataVolume) -> None:
    """Twice within a second makes two directories."""
    for content in ("first", "second"):
        fill(volume, "schema.DAT", content=content)
        volume.write_marker(MEMBER)
        volume.set_aside()

    assert sorted((path / NODE / "schema.DAT").read_text() for path in put_aside(volume)) == ["first", "second"]


@pytest.mark.parametrize("steps", range(4))
def test_set_aside_cut_short_is_finished_by_the_next_start(
    volume: DataVolume, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of moves the disk is neither blank nor unmarked, and `prepare` brings it to its end."""
    fill(volume, "schema.DAT", content="precious")
    volume.data_dir.with_name(f"{NODE}-feature_flags").write_text("[].")
    volume.write_marker(MEMBER)
    rename, left = Path.rename, steps

    def renamed(path: Path, to: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(5, "the power is gone")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", renamed)
    if steps < 3:
        with pytest.raises(ConfigurationError, match="the power is gone"):
            volume.set_aside()
        assert volume.read().kind in (DiskKind.DATA, DiskKind.AMNESIC)
    else:
        volume.set_aside()
    left = 10
    volume.prepare()

    assert volume.read().kind is DiskKind.BLANK
    [kept] = put_aside(volume)
    assert (kept / NODE / "schema.DAT").read_text() == "precious"


def test_a_members_empty_directory_may_be_emptied(volume: DataVolume) -> None:
    """Beside the marker of a member, what a boot leaves before it joined is deleted; data is refused."""
    fill(volume, *VIRGIN_KHEPRI)
    volume.write_marker(MEMBER)
    volume.empty()

    assert not volume.data_dir.exists()
    assert volume.read().kind is DiskKind.AMNESIC


def test_marker_keeps_hosts_and_whom_it_missed(volume: DataVolume) -> None:
    """What a later start needs to know comes back; markers from before they existed read as without."""
    told = replace(MEMBER, hosts=(("rabbit@two", "host-b"),), missed=("rabbit@three",))
    volume.write_marker(told)
    assert volume.read().marker == told

    path = volume.state_dir / "marker.json"
    record = json.loads(path.read_text())
    del record["hosts"], record["missed"]
    path.write_text(json.dumps(record))
    assert volume.read().marker == MEMBER
