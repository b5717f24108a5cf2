"""The data volume: is there broker data on it, whose is it, and our own record beside it.

Layout under the base directory (`RABBITMQ_MNESIA_BASE`): `<node>/` and a few `<node>-…` files belong to the
broker; `rmqcluster/<node>/` is ours: `marker.json`, `epoch`, `lock`, `conf.d/`, and `kept-…/` with data that was
put aside. A lost or wiped volume takes both; a broker directory emptied by a person leaves our marker as the
witness.

What the broker's directory holds (measured on 3.10.8 and 4.3.6):

- before logging starts: nothing;
- a joiner that still retries discovery, or was killed there: on Mnesia `cluster_nodes.config`,
  `nodes_running_at_shutdown`, `quorum/` and `coordination/` with their empty logs; on Khepri `quorum/`,
  `coordination/` (the metadata store's own log) and an empty `rabbitmq_metadata/`;
- once booted or joined, also: on Mnesia `schema.DAT`, `schema_version`, `*.DCD`, `msg_stores/`,
  `rabbit_serial`; on Khepri `msg_stores/`, `rabbit_serial`.

So data is *anything beyond what a boot leaves before it got past discovery*: an unknown name, a replica's
directory or a segment under `quorum/`, or a `cluster_nodes.config` that names somebody else. Unknown counts
as data: the mistake that destroys nothing.
"""

import hashlib
import json
import re
import shutil
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from rmqcluster.broker.atomic import sync_directory, write_file
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.core.model import Disk, Marker, Stage
from rmqcluster.errors import ConfigurationError, IdentityRefused

FORMAT = 1
_MAX_MARKER_BYTES = 64 * 1024
_BEFORE_DISCOVERY = frozenset(
    {"cluster_nodes.config", "nodes_running_at_shutdown", "quorum", "coordination", "rabbitmq_metadata", "stream"}
)
_EMPTY_LOG = re.compile(r"^(\d+\.wal|names\.dets|meta\.dets|writers\.snapshot|segment_name_upgrade_marker)$")
_SIDE_FILES = ("-feature_flags", "-plugins-expand", ".pid")


class DataVolume:
    """Port `Volume`, for one node name. Raises ConfigurationError when the volume cannot be read or written."""

    def __init__(self, settings: Settings) -> None:
        base = settings.paths.mnesia_base
        self._node = settings.node
        self._base = base
        self.data_dir = base / settings.node
        self.state_dir = base / "rmqcluster" / settings.node
        self.lock_path = self.state_dir / "lock"
        self._marker_path = self.state_dir / "marker.json"
        self._epoch_path = self.state_dir / "epoch"
        self._aside_path = self.state_dir / "aside"  # names the directory of a putting aside that is under way

    def prepare(self) -> None:
        """Create our own directory, private to this user; finish a putting aside that was cut short."""
        try:
            self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._finish_set_aside()
        except OSError as error:
            raise _unusable(self.state_dir, error) from error

    def read(self) -> Disk:
        """Raises IdentityRefused when our marker is there but cannot be understood: that is not a blank disk."""
        marker = self._read_marker()
        epoch_high = max(self._read_epoch(), marker.epoch if marker else 0)
        return Disk(has_data=self._has_data(), marker=marker, epoch_high=epoch_high)

    def write_marker(self, marker: Marker) -> None:
        """Replace the marker in one step; it is on the disk when this returns."""
        record = {
            "format": FORMAT,
            "node": self._node,
            "cluster_id": marker.cluster_id,
            "stage": marker.stage.value,
            "epoch": marker.epoch,
            "host": marker.host,
            "members": list(marker.members),
            "peers": [list(peer) for peer in marker.peers],
            "hosts": [list(host) for host in marker.hosts],
            "missed": None if marker.missed is None else list(marker.missed),
        }
        self._write(self._marker_path, json.dumps(record, indent=1).encode() + b"\n")

    def raise_epoch(self, epoch: int) -> None:
        """Remember the highest epoch seen; a lower one changes nothing."""
        if epoch > self._read_epoch():
            self._write(self._epoch_path, f"{epoch}\n".encode())

    def empty(self) -> None:
        """Delete the broker's data, never our own record. Raises IdentityRefused when it is a member's.

        What a boot leaves before it has joined is nobody's data, even beside the marker of a member.
        """
        marker = self._read_marker()
        if marker is not None and marker.stage is Stage.MEMBER and self._has_data():
            raise IdentityRefused(
                f"{self.data_dir} holds the data of {self._node}, a member of cluster {marker.cluster_id}: not emptied."
            )
        try:
            if self.data_dir.is_dir():
                shutil.rmtree(self.data_dir)
            for suffix in _SIDE_FILES:
                _remove(self._base / f"{self._node}{suffix}")
            sync_directory(self._base)
        except OSError as error:
            raise _unusable(self.data_dir, error) from error

    def set_aside(self) -> Path:
        """Move the broker's data and our marker into a dated directory beside, so that the disk is blank.

        Returns that directory. The epoch stays. Nothing is copied or overwritten, and a run that was cut short is
        finished by `prepare` or by the next one: the first step is a note of where everything goes.
        """
        self.prepare()
        marker = self._read_marker()
        try:
            if marker is not None:
                self.raise_epoch(marker.epoch)
            kept = _new_directory(self.state_dir, f"kept-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
            write_file(self._aside_path, kept.name.encode())
            self._finish_set_aside()
        except OSError as error:
            raise _unusable(self.data_dir, error) from error
        return kept

    def _finish_set_aside(self) -> None:
        """The data goes first: a crash in between leaves a marker without data, never data without its marker."""
        if not self._aside_path.exists():
            return
        kept = self.state_dir / self._aside_path.read_text("utf-8").strip()
        sides = [self._base / f"{self._node}{suffix}" for suffix in _SIDE_FILES]
        for path in (*sides, self.data_dir, self._marker_path):
            if path.exists():
                path.rename(kept / path.name)
                sync_directory(kept)
                sync_directory(path.parent)
        self._aside_path.unlink()
        sync_directory(self.state_dir)

    def _write(self, path: Path, content: bytes) -> None:
        self.prepare()
        try:
            write_file(path, content)
        except OSError as error:
            raise _unusable(path, error) from error

    def _read_marker(self) -> Marker | None:
        try:
            content = self._marker_path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(self._marker_path, error) from error
        try:
            return _parse_marker(content, self._node)
        except (ValueError, KeyError, TypeError) as error:
            raise IdentityRefused(
                f"{self._marker_path} cannot be understood ({error}), so nobody knows whose data is beside it. "
                f"Nothing was changed. Restore the file from a backup, or move {self.data_dir} and this file away "
                f"to start blank."
            ) from error

    def _read_epoch(self) -> int:
        try:
            text = self._epoch_path.read_text("ascii").strip()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _unusable(self._epoch_path, error) from error
        if not re.fullmatch(r"\d{1,18}", text):
            raise IdentityRefused(f"{self._epoch_path} should hold one number; nothing was changed. Remove the file.")
        return int(text)

    def _has_data(self) -> bool:
        try:
            names = {entry.name for entry in self.data_dir.iterdir()}
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unusable(self.data_dir, error) from error
        if names - _BEFORE_DISCOVERY:
            return True
        if _names_a_peer(self.data_dir / "cluster_nodes.config", self._node):
            return True
        return any(
            not _EMPTY_LOG.match(entry.name)
            for part in ("quorum", "stream")
            for entry in _children_of_children(self.data_dir / part)
        )


def write_cookie(home: Path, cookie: Secret) -> None:
    """Put the Erlang cookie where broker and tools look for it, readable by its owner alone.

    Raises ConfigurationError when another cookie is there: changing it would cut this node off from its
    cluster, so a person decides.
    """
    path = home / ".erlang.cookie"
    try:
        present = path.read_bytes()
    except FileNotFoundError:
        present = None
    except OSError as error:
        raise _unusable(path, error) from error
    wanted = cookie.value.encode()
    try:
        if present is None:
            write_file(path, wanted, mode=0o400)
        elif present.rstrip(b"\r\n") == wanted:
            path.chmod(0o400)
        else:
            raise ConfigurationError(
                f"{path} holds another cookie (SHA-256 {_prefix(present)}…) than RABBITMQ_ERLANG_COOKIE "
                f"({_prefix(wanted)}…). All members need the same one: correct the setting, or remove the file."
            )
    except OSError as error:
        raise _unusable(path, error) from error


def _prefix(content: bytes) -> str:
    return hashlib.sha256(content.rstrip(b"\r\n")).hexdigest()[:6]


def _parse_marker(content: bytes, node: str) -> Marker:
    if len(content) > _MAX_MARKER_BYTES:
        raise ValueError("larger than any marker")
    record = json.loads(content)
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    if record.get("format") != FORMAT:
        raise ValueError(f"format {record.get('format')!r}, this version reads {FORMAT}")
    if record["node"] != node:
        raise ValueError(f"written by {record['node']!r}, not by {node}")
    cluster_id, epoch, host = record["cluster_id"], record["epoch"], record.get("host")
    if not isinstance(cluster_id, str) or not cluster_id or isinstance(epoch, bool) or not isinstance(epoch, int):
        raise ValueError("no cluster_id or epoch")
    return Marker(
        cluster_id=cluster_id,
        stage=Stage(record["stage"]),
        epoch=epoch,
        host=None if host is None else str(host),
        members=tuple(str(member) for member in record.get("members", [])),
        peers=_pairs(record.get("peers", [])),
        hosts=_pairs(record.get("hosts", [])),
        missed=None if record.get("missed") is None else tuple(str(member) for member in record["missed"]),
    )


def _pairs(rows: list[tuple[object, object]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in rows)


def _new_directory(parent: Path, name: str) -> Path:
    """A directory that was not there: `name`, or `name-2` and so on."""
    wanted = (parent / (name if number == 1 else f"{name}-{number}") for number in count(1))
    path = next(one for one in wanted if not one.exists())
    path.mkdir(mode=0o700)
    sync_directory(parent)
    return path


def _names_a_peer(config: Path, node: str) -> bool:
    """Does Mnesia's list of cluster nodes, an Erlang term, name anybody but `node`?"""
    try:
        text = config.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(config, error) from error
    return any(name != node for name in re.findall(r"[^\s\[\]{}(),'\"]+@[^\s\[\]{}(),'\"]+", text))


def _children_of_children(directory: Path) -> list[Path]:
    try:
        return [entry for part in directory.iterdir() for entry in ([*part.iterdir()] if part.is_dir() else [part])]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unusable(directory, error) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be used: {error.strerror or error}. It must belong to the user that runs the broker."
    )
