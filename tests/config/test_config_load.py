"""What is read from where, what is refused, and in which words."""

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

from rmqcluster.config.load import load
from rmqcluster.config.settings import Paths, RedisSettings, Settings
from rmqcluster.config.table import KNOWN_NAMES, SETTINGS
from rmqcluster.core.model import JoinMode, Policy
from rmqcluster.errors import ConfigurationError, ExitCode

TOP = Path(__file__).parents[2]

CANARY = "canary-6d1f"
MINIMAL = {"RABBITMQ_ERLANG_COOKIE": "COOKIE"}


def refused(environ: dict[str, str], dotenv: Path | None = None, **options: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load({**MINIMAL, **environ}, dotenv, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    return str(caught.value)


def accepted(environ: dict[str, str], dotenv: Path | None = None) -> Settings:
    return load({**MINIMAL, **environ}, dotenv)


def test_defaults_are_those_of_the_records():
    """With only a cookie given, every value is the default that the settings records name."""
    settings = load(MINIMAL, None, hostname="rabbitmq1.fog.example")

    assert settings.node == "rabbit@rabbitmq1"
    assert settings.host == "rabbitmq1"
    assert settings.policy == Policy()
    assert settings.paths == Paths()
    assert settings.redis == RedisSettings()
    bare = Settings(node=settings.node, cookie=settings.cookie)
    assert settings == bare


def test_environment_wins_over_dotenv(tmp_path: Path):
    """The environment is asked first, then .env; a name set to nothing in the environment hides .env."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("REDIS_HOST=from-file\nREDIS_PORT=7000\nREDIS_USER=from-file\n")
    settings = accepted({"REDIS_HOST": "from-env", "REDIS_USER": ""}, dotenv)

    assert (settings.redis.host, settings.redis.port, settings.redis.user) == ("from-env", 7000, None)


def test_dotenv_values_are_literal_and_stay_out_of_the_environment(tmp_path: Path):
    """A $ in .env has no meaning, and loading never changes os.environ."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("HOME_SWEET=x\nREDIS_PASS='a${HOME}b'\nexport REDIS_USER=\"fog\" # the user\n")
    dotenv.chmod(0o600)
    before = dict(os.environ)
    settings = accepted({}, dotenv)

    assert settings.redis.password is not None
    assert settings.redis.password.value == "a${HOME}b"
    assert settings.redis.user == "fog"
    assert dict(os.environ) == before
    assert settings.warnings == ()


def test_missing_dotenv_is_fine_and_a_broken_one_is_not(tmp_path: Path):
    """No .env is the normal case; a line that cannot be understood is named, not skipped."""
    assert accepted({}, tmp_path / ".env").prefix == "rabbitmq"
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"REDIS_HOST=a\nREDIS_PASS='{CANARY}\n")
    text = refused({}, dotenv)

    assert "line 2" in text
    assert CANARY not in text


def test_dotenv_with_secrets_for_everybody_is_a_warning(tmp_path: Path):
    """A .env that holds a secret and that other users can read is reported, without its content."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"REDIS_PASS={CANARY}\n")
    dotenv.chmod(0o644)
    (warning,) = accepted({}, dotenv).warnings

    assert str(dotenv) in warning
    assert "chmod 600" in warning
    assert CANARY not in warning


def test_everything_can_be_set():
    """Each setting lands in the field that it names."""
    settings = accepted(
        {
            "REDIS_HOST": "10.0.0.9",
            "REDIS_PORT": "6380",
            "REDIS_USER": "fog",
            "REDIS_PASS": "p",
            "RABBITMQ_NODENAME": "mq@node-1.example.org",
            "MQ_ADMIN_USER": "admin",
            "MQ_ADMIN_PASS": "a",
            "MQ_NODE2_WORKER": "worker2",
            "MQ_NODE2_PASS": "w",
            "RMQCLUSTER_SIZE": "5",
            "RMQCLUSTER_PREFIX": "rabbitmq:fog",
            "RMQCLUSTER_HEARTBEAT_SECONDS": "0.5",
            "RMQCLUSTER_TTL_SECONDS": "1.5",
            "RMQCLUSTER_REDIS_WAIT_SECONDS": "1",
            "RMQCLUSTER_MASTER_WAIT_SECONDS": "2",
            "RMQCLUSTER_SETTLE_SECONDS": "3",
            "RMQCLUSTER_STOP_SECONDS": "4",
            "RMQCLUSTER_JOIN": "rabbitmqctl",
            "RMQCLUSTER_HTTP_BIND": "127.0.0.1",
            "RMQCLUSTER_HTTP_PORT": "1",
            "RMQCLUSTER_HTTP_TOKEN": "t",
            "RMQCLUSTER_MANAGEMENT_PORT": "2",
            "RMQCLUSTER_DEFINITIONS": "/d.json",
            "RMQCLUSTER_HOST_ID": "x2f",
            "RMQCLUSTER_LOG": "json",
            "RABBITMQ_NODE_PORT": "3",
            "RABBITMQ_MNESIA_BASE": "/data/mnesia",
            "RABBITMQ_CONFIG_FILE": "/c",
            "RABBITMQ_CONFIG_FILES": "/c.d",
            "RABBITMQ_ENABLED_PLUGINS_FILE": "/p",
        }
    )

    assert (settings.redis.host, settings.redis.port, settings.redis.user) == ("10.0.0.9", 6380, "fog")
    assert settings.node == "mq@node-1.example.org"
    assert settings.policy == Policy(5, 0.5, 1.5, 1, 2, 4, 3, JoinMode.RABBITMQCTL)
    assert settings.paths == Paths(
        Path("/data/mnesia"), Path("/data"), Path("/c"), Path("/c.d"), Path("/p"), Path("/d.json")
    )
    assert [(a.name, a.password.value, a.worker) for a in settings.accounts] == [
        ("admin", "a", False),
        ("worker2", "w", True),
    ]
    assert (settings.http_bind, settings.http_port, settings.management_port, settings.amqp_port) == (
        *("127.0.0.1", 1),
        *(2, 3),
    )
    assert (settings.prefix, settings.host_id, settings.log) == ("rabbitmq:fog", "x2f", "json")
    assert settings.http_token is not None
    assert settings.http_token.value == "t"
    assert settings.warnings == ()


BAD = [
    ("RMQCLUSTER_SIZE", "0"),
    ("RMQCLUSTER_SIZE", "three"),
    ("RMQCLUSTER_SIZE", "-1"),
    ("RMQCLUSTER_SIZE", "3.0"),
    ("RMQCLUSTER_SIZE", "٣"),
    ("RMQCLUSTER_HEARTBEAT_SECONDS", "0"),
    ("RMQCLUSTER_HEARTBEAT_SECONDS", "nan"),
    ("RMQCLUSTER_HEARTBEAT_SECONDS", "5s"),
    ("RMQCLUSTER_TTL_SECONDS", "14"),
    ("RMQCLUSTER_TTL_SECONDS", "1e9"),
    ("RMQCLUSTER_REDIS_WAIT_SECONDS", "inf"),
    ("RMQCLUSTER_MASTER_WAIT_SECONDS", "-1"),
    ("RMQCLUSTER_STOP_SECONDS", "0"),
    ("RMQCLUSTER_SETTLE_SECONDS", " "),
    ("RMQCLUSTER_PREFIX", "a b"),
    ("RMQCLUSTER_PREFIX", "rabbitmq:"),
    ("RMQCLUSTER_PREFIX", "rabbit*"),
    ("RMQCLUSTER_JOIN", "auto"),
    ("RMQCLUSTER_LOG", "JSON"),
    ("RMQCLUSTER_HTTP_BIND", "everywhere"),
    ("RMQCLUSTER_HTTP_PORT", "65536"),
    ("RMQCLUSTER_MANAGEMENT_PORT", "0"),
    ("RMQCLUSTER_DEFINITIONS", "definitions.json"),
    ("RMQCLUSTER_HOST_ID", "{{.Node.ID}}"),
    ("RABBITMQ_NODE_PORT", "amqp"),
    ("RABBITMQ_MNESIA_BASE", "mnesia"),
    ("RABBITMQ_CONFIG_FILES", "/etc/rabbitmq/conf.d/*.conf"),
    ("RABBITMQ_NODENAME", "-rf@host"),
    ("RABBITMQ_NODENAME", "rabbit@-host"),
    ("RABBITMQ_NODENAME", "rabbit@"),
    ("RABBITMQ_NODENAME", "@host"),
    ("RABBITMQ_NODENAME", "rabbit@a@b"),
    ("RABBITMQ_NODENAME", "Rabbit@host"),
    ("RABBITMQ_NODENAME", "rabbit@host\n"),
    ("RABBITMQ_NODENAME", "rabbit@host;reboot"),
    ("RABBITMQ_NODENAME", "rabbit@" + "h" * 300),
    ("REDIS_PORT", "x"),
    ("REDIS_HOST", "redis:6379"),
    ("REDIS_HOST", "-h"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_value_names_variable_value_and_what_is_allowed(name: str, value: str):
    """A bad value is refused in one line: the variable, the value made printable, what to give."""
    text = refused({name: value})

    assert re.match(rf"{name}: \".+\" is not allowed; give .+", text)
    assert "\n" not in text


BAD_SECRETS = [
    ("RABBITMQ_ERLANG_COOKIE", f"{CANARY} with space"),
    ("RABBITMQ_ERLANG_COOKIE", CANARY * 30),
    ("RABBITMQ_ERLANG_COOKIE", f"{CANARY}é"),
    ("RMQCLUSTER_HTTP_TOKEN", f"{CANARY}\r\nX: y"),
    ("REDIS_URL", f"http://u:{CANARY}@redis"),
    ("REDIS_URL", f"redis://u:{CANARY}@"),
    ("REDIS_URL", f"redis://u:{CANARY}@redis:99999"),
    ("REDIS_URL", f"redis://u:{CANARY}@[redis"),
    ("REDIS_URL", CANARY),
]


@pytest.mark.parametrize(("name", "value"), BAD_SECRETS)
def test_bad_secret_is_refused_without_being_shown(name: str, value: str):
    """A secret's value never enters an error text."""
    text = refused({name: value})

    assert text.startswith(f"{name}: ")
    assert "give" in text
    assert CANARY not in text


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "redis://:p@redis:6379/0",
        "rediss://u:p%40@[fd00::1]:6380/1?x=y",
        "redis+sentinel://a:26379,b:26379/mymaster",
    ],
)
def test_redis_url_of_each_kind_is_taken_as_it_is(url: str):
    """The three schemes of the contract pass, and host and port given beside them are reported as unused."""
    settings = accepted({"REDIS_URL": url, "REDIS_HOST": "other"})

    assert settings.redis.url is not None
    assert settings.redis.url.value == url
    assert any(warning.startswith("REDIS_HOST: not used") for warning in settings.warnings)


def test_all_problems_are_told_at_once():
    """A person mends everything in one go: every problem is a line of its own."""
    text = refused(
        {
            "RMQCLUSTER_SIZE": "x",
            "REDIS_PORT": "y",
            "MQ_ADMIN_USER": "admin",
            "RMQCLUSTER_SIEZ": "3",
            "RABBITMQ_ERLANG_COOKIE": "",
        }
    )

    assert sorted(line.split(":")[0] for line in text.splitlines()) == [
        "MQ_ADMIN_USER",
        "RABBITMQ_ERLANG_COOKIE",
        "REDIS_PORT",
        "RMQCLUSTER_SIEZ",
        "RMQCLUSTER_SIZE",
    ]


def test_unknown_name_of_ours_is_refused_with_the_nearest(tmp_path: Path):
    """A misspelt RMQCLUSTER_ name is refused wherever it stands; other programs' names are not ours to judge."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("RMQCLUSTER_TTL_SECOND=9\nPOSTGRES_USER=fog\n")

    assert "did you mean RMQCLUSTER_TTL_SECONDS?" in refused({}, dotenv)
    assert "no such setting; remove it" in refused({"RMQCLUSTER_ZZZZZZZZZZZZZZZZZZ": "1"})
    assert "RMQCLUSTER_SIZE_FILE: no such setting" in refused({"RMQCLUSTER_SIZE_FILE": "/x"})
    assert "did you mean RMQCLUSTER_SIZE?" in refused({"RMQCLUSTER_SIEZ": "3"}, role="client")


@pytest.mark.parametrize("name", ["RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_DEFAULT_USER_FILE"])
def test_names_that_the_image_refuses_are_refused_with_ours(name: str):
    """RabbitMQ's image dies of these names; the message names the setting to use instead."""
    assert "use MQ_ADMIN" in refused({name: "/run/secrets/x"})


def test_default_account_of_the_image_is_not_used():
    """A blank node has no known account, so the image's default account is reported as unused."""
    warnings = accepted({"RABBITMQ_DEFAULT_PASS": CANARY}).warnings

    assert any(warning.startswith("RABBITMQ_DEFAULT_PASS: not used") for warning in warnings)
    assert CANARY not in "".join(warnings)


def test_ttl_needs_three_heartbeats():
    """Three beats are enough, a little less is not, and the message does the sum."""
    assert accepted({"RMQCLUSTER_HEARTBEAT_SECONDS": "0.1", "RMQCLUSTER_TTL_SECONDS": "0.3"})
    text = refused({"RMQCLUSTER_HEARTBEAT_SECONDS": "30", "RMQCLUSTER_TTL_SECONDS": "89"})
    assert "90 with RMQCLUSTER_HEARTBEAT_SECONDS=30" in text


def test_even_size_is_a_warning():
    """An even size works but buys nothing."""
    assert any("odd" in warning for warning in accepted({"RMQCLUSTER_SIZE": "4"}).warnings)
    assert accepted({"RMQCLUSTER_SIZE": "5"}).warnings == ()


def test_two_listeners_on_one_port_are_refused():
    """A port given twice is found at start, not when the second listener fails."""
    assert "also RABBITMQ_NODE_PORT" in refused({"RMQCLUSTER_HTTP_PORT": "5672"})


def test_node_name_without_host_gets_the_short_host_name():
    """As RabbitMQ completes it; a given host part, short or long, is kept."""
    assert load({**MINIMAL, "RABBITMQ_NODENAME": "mq"}, None, hostname="box.example").node == "mq@box"
    assert accepted({"RABBITMQ_NODENAME": "mq@a.b.c"}).node == "mq@a.b.c"
    assert "from this host's name" in refused({}, hostname="bad host")


def test_accounts_come_in_pairs_with_their_own_names():
    """A user without a password, a password without a user, a name used twice and a reserved one are refused."""
    assert "MQ_ADMIN_USER: has no password" in refused({"MQ_ADMIN_USER": "admin"})
    text = refused({"MQ_NODE1_PASS": CANARY})
    assert "MQ_NODE1_PASS: belongs to no account; give MQ_NODE1_WORKER" in text
    assert CANARY not in text
    twice = {"MQ_NODE1_WORKER": "w", "MQ_NODE1_PASS": "a", "MQ_NODE3_WORKER": "w", "MQ_NODE3_PASS": "b"}
    assert refused(twice).startswith('MQ_NODE3_WORKER: "w" is also')
    for name in ("rmqcluster-monitor", "guest"):
        text = refused({"MQ_ADMIN_USER": name, "MQ_ADMIN_PASS": CANARY})
        assert text.startswith(f'MQ_ADMIN_USER: "{name}" is ')
        assert CANARY not in text


def test_client_needs_neither_cookie_nor_node_name(tmp_path: Path):
    """Commands that only read need Redis and the policy; a member's bad setting is a warning to them."""
    settings = load({"REDIS_HOST": "r"}, None, role="client", hostname="bad host")
    assert (settings.redis.host, bool(settings.cookie)) == ("r", False)

    settings = load(
        {"RABBITMQ_ERLANG_COOKIE_FILE": str(tmp_path / "gone"), "RABBITMQ_NODENAME": "-x"}, None, role="client"
    )
    assert not settings.cookie
    assert {warning.split(":")[0] for warning in settings.warnings} == {
        "RABBITMQ_ERLANG_COOKIE",
        "RABBITMQ_NODENAME",
    }
    assert "REDIS_PORT" in refused({"REDIS_PORT": "x"}, role="client")


def test_member_needs_a_cookie():
    """Without a cookie nothing starts, and the message says where to put it."""
    assert "RABBITMQ_ERLANG_COOKIE_FILE" in refused({"RABBITMQ_ERLANG_COOKIE": ""})


def test_no_secret_shows_in_the_settings():
    """Printing the settings or one of their parts shows no secret."""
    secrets = {setting.name: CANARY for setting in SETTINGS if setting.secret}
    secrets["REDIS_URL"] = f"redis://u:{CANARY}@redis:1"
    users = {"MQ_ADMIN_USER": "a", "MQ_NODE1_WORKER": "b", "MQ_NODE2_WORKER": "c", "MQ_NODE3_WORKER": "d"}
    settings = accepted({**secrets, **users})

    assert len(settings.accounts) == 4
    assert CANARY not in repr(settings)
    assert CANARY not in "".join(f"{getattr(settings, field.name)}" for field in fields(settings))
    assert settings.redis.address == "redis:1"


FOR_MAKE = ("RABBITMQ_BASE", "POSTGRES_PASS", "SINGLE_HOST", "PUBLISH", "REGISTRY")


def stack_variables() -> dict[str, str]:
    """The variables of the stack's files with their defaults; hashes are computed and in nobody's hand."""
    text = "".join((TOP / name).read_text() for name in ("compose.yml", "compose.publish.yml"))
    found = re.findall(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?[:}]?", text)
    return {name: default for name, default in found if not name.startswith("HASH_")}


def test_env_example_names_exactly_the_known_settings():
    """The example file explains every setting and every variable of the stack once, and invents none."""
    names = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (TOP / ".env.example").read_text(), re.MULTILINE)

    assert sorted(names) == sorted(KNOWN_NAMES | stack_variables().keys() | set(FOR_MAKE))


def test_env_example_shows_the_stacks_defaults():
    """A default in compose.yml is the one that the example file shows."""
    shown = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", (TOP / ".env.example").read_text(), re.MULTILINE))

    for name, default in stack_variables().items():
        assert default in ("", shown[name]), name


def test_env_example_shows_the_defaults():
    """A default in the example file is the default of the table, and the file loads once a cookie is in it."""
    text = (TOP / ".env.example").read_text()
    shown = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))

    for setting in SETTINGS:
        if setting.default is not None:
            assert (setting.name, shown[setting.name]) == (setting.name, setting.default)


def test_env_example_lacks_only_its_secrets(tmp_path: Path):
    """A copy of the example file with every empty place filled in is a good .env: four accounts, all else default."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(re.sub(r"^(\w+)=$", r"\1=filled", (TOP / ".env.example").read_text(), flags=re.MULTILINE))
    dotenv.chmod(0o600)
    settings = load({}, dotenv)

    assert settings.policy == Policy()
    assert len(settings.accounts) == 4
    assert settings.warnings == ()
