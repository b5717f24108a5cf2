"""The generated configuration, by purpose, version and size; the environment; the scripts' version."""

from pathlib import Path

import pytest

from rmqcluster.agent.ports import Boot
from rmqcluster.broker import conf
from rmqcluster.broker.env import broker_environment, tool_environment
from rmqcluster.broker.version import as_numbers, read_version
from rmqcluster.config.settings import Paths, Secret, Settings
from rmqcluster.core.model import JoinMode, Policy, Purpose

FOUND, DATA, JOIN = Boot(Purpose.FOUND, "c"), Boot(Purpose.DATA, "c"), Boot(Purpose.JOIN, "c", "rabbit@two")
PASSWORD = Secret("monitor-password")


def settings(size: int = 3, join: JoinMode = JoinMode.BOOT, paths: Paths | None = None) -> Settings:
    return Settings("rabbit@one", Secret("c"), policy=Policy(size=size, join=join), paths=paths or Paths())


def keys(boot: Boot, version: str | None = "3.10.8", of: Settings | None = None) -> dict[str, str]:
    text = conf.render(boot, version, of or settings(), PASSWORD)
    return dict(line.split(" = ", 1) for line in text.splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("boot", [FOUND, JOIN, DATA])
def test_an_empty_database_knows_one_powerless_account(boot: Boot) -> None:
    """A node that strays alone confirms nothing to anybody, also when its data turns out to be none."""
    found = keys(boot)

    assert (found["default_user"], found["default_pass"]) == ("rmqcluster-monitor", "monitor-password")
    assert {found[f"default_permissions.{kind}"] for kind in ("configure", "write", "read")} == {"^$"}


def test_a_node_with_data_gets_no_discovery() -> None:
    """A restart with data is RabbitMQ's own business."""
    assert not [key for key in keys(DATA) if key.startswith("cluster_formation")]


def test_a_joiner_knows_its_target_alone() -> None:
    """Discovery names the target and never gives up, since giving up means booting alone."""
    found = keys(JOIN)

    assert found["cluster_formation.classic_config.nodes.1"] == "rabbit@two"
    assert int(found["cluster_formation.discovery_retry_limit"]) >= 1_000_000
    assert "cluster_formation.classic_config.nodes.2" not in found


def test_a_founder_discovers_nobody() -> None:
    """The founder boots alone."""
    assert not [key for key in keys(FOUND) if key.startswith("cluster_formation")]


def test_join_by_command_needs_no_discovery() -> None:
    """RMQCLUSTER_JOIN=rabbitmqctl boots alone first."""
    assert not [key for key in keys(JOIN, of=settings(join=JoinMode.RABBITMQCTL)) if "cluster_formation" in key]


@pytest.mark.parametrize("target", [None, "rabbit@one"])
def test_a_joiner_never_joins_itself(target: str | None) -> None:
    """Joining nobody or oneself is a bug, not a configuration."""
    with pytest.raises(ValueError, match="another member"):
        conf.render(Boot(Purpose.JOIN, "c", target), "3.10.8", settings(), PASSWORD)


@pytest.mark.parametrize(
    ("version", "partition", "initial", "reconciliation"),
    [
        ("3.10.8", True, False, False),
        ("3.13.7", True, False, True),
        ("4.0.5", True, False, True),
        ("4.1.8", True, True, True),
        ("4.3.6", False, True, True),
        (None, False, False, False),
    ],
)
def test_keys_follow_the_version(version: str | None, partition: bool, initial: bool, reconciliation: bool) -> None:
    """A key that a version does not know would keep it from booting."""
    found = keys(DATA, version)

    assert ("cluster_partition_handling" in found) is partition
    assert ("quorum_queue.initial_cluster_size" in found) is initial
    assert ("quorum_queue.continuous_membership_reconciliation.enabled" in found) is reconciliation
    # A target for all would grow queues that have a single replica on purpose.
    assert "quorum_queue.continuous_membership_reconciliation.target_group_size" not in found


@pytest.mark.parametrize("size", [1, 2])
def test_small_clusters_do_not_pause(size: int) -> None:
    """With two members, pausing the minority would pause both."""
    assert "cluster_partition_handling" not in keys(DATA, of=settings(size))


def test_conf_directory_holds_the_operators_files_and_ours(tmp_path: Path) -> None:
    """Other conf.d files are taken over, except the official image's that lets guest in; old content goes."""
    source, target = tmp_path / "conf.d", tmp_path / "generated"
    source.mkdir()
    target.mkdir()
    for name in ("10-defaults.conf", "20-mine.conf", "notes.txt"):
        (source / name).write_text("heartbeat = 10\n")
    (target / "old.conf").write_text("x = 1\n")
    conf.write(target, settings(paths=Paths(config_files=source)), "a = 1\n")

    assert sorted(path.name for path in target.iterdir()) == ["20-mine.conf", "90-rmqcluster.conf"]
    assert (target / "90-rmqcluster.conf").stat().st_mode & 0o777 == 0o600
    assert target.stat().st_mode & 0o777 == 0o700


def test_environments_pass_an_allow_list() -> None:
    """Secrets and strangers stay out; RabbitMQ's and Erlang's own variables go through; tools get no ports."""
    inherited = {
        "PATH": "/bin",
        "ERL_EPMD_PORT": "4370",
        "RABBITMQ_DIST_PORT": "25673",
        "RABBITMQ_LOG_BASE": "/log",
        "REDIS_PASS": "s",
        "REDIS_URL": "s",
        "MQ_ADMIN_PASS": "s",
        "RABBITMQ_ERLANG_COOKIE": "s",
        "HOME": "/root",
        "RABBITMQ_DEFAULT_PASS": "s",
        "RMQCLUSTER_HTTP_TOKEN": "s",
        "RABBITMQ_DEFAULT_USER": "u",
        "LD_PRELOAD": "x",
    }
    broker = broker_environment(settings(), inherited, Path("/state/conf.d"), "/run/notify")
    tool = tool_environment(settings(), inherited)

    assert "s" not in {*broker.values(), *tool.values()}
    assert broker["RABBITMQ_DIST_PORT"] == "25673"
    assert broker["RABBITMQ_CONFIG_FILES"] == "/state/conf.d"
    assert broker["RUNNING_UNDER_SYSTEMD"] == "true"
    assert not {"RABBITMQ_DIST_PORT", "LD_PRELOAD", "NOTIFY_SOCKET"} & set(tool)
    assert tool["HOME"] == "/var/lib/rabbitmq"


def test_a_dot_in_the_host_means_long_names() -> None:
    """Erlang refuses a dotted host under short names, in the broker and in its tools alike."""
    long = Settings("rabbit@one.example.org", Secret("c"))

    for environment in (broker_environment(long, {}, Path("/c"), None), tool_environment(long, {})):
        assert environment["RABBITMQ_USE_LONGNAME"] == "true"
    assert "RABBITMQ_USE_LONGNAME" not in tool_environment(settings(), {})


@pytest.mark.parametrize(
    ("tree", "scripts", "version"),
    [
        ("lib/rabbitmq_server-3.10.8/plugins", "lib/rabbitmq_server-3.10.8/sbin", "3.10.8"),
        ("opt/rabbitmq/plugins/rabbit-4.1.8", "opt/rabbitmq/sbin", "4.1.8"),
        ("opt/rabbitmq/plugins/rabbit_common-4.1.8", "opt/rabbitmq/sbin", None),
    ],
)
def test_version_is_read_from_names(tmp_path: Path, tree: str, scripts: str, version: str | None) -> None:
    """Debian's tree and the official image's say their version; where nothing does, it is unknown."""
    (tmp_path / tree).mkdir(parents=True)
    (tmp_path / scripts).mkdir(parents=True)

    assert read_version(tmp_path / scripts) == version


def test_versions_compare_as_numbers() -> None:
    """3.9 is older than 3.10; an unknown version is unknown."""
    assert (as_numbers("3.9.1") or (0, 0)) < (as_numbers("3.10.8") or (0, 0))
    assert as_numbers(None) is None
