"""Secrets from files: each way a file can be wrong has its own words, and the content never shows."""

import os
from pathlib import Path

import pytest

from rmqcluster.config import secrets as secrets_module
from rmqcluster.config.load import load
from rmqcluster.config.settings import Settings
from rmqcluster.config.table import SETTINGS
from rmqcluster.errors import ConfigurationError

CANARY = b"canary-77aa"
MINIMAL = {"RABBITMQ_ERLANG_COOKIE": "COOKIE"}


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    return path


def load_password(path: Path) -> Settings:
    return load({**MINIMAL, "REDIS_PASS_FILE": str(path)}, None)


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"abc", "abc"), (b"abc\n", "abc"), (b"abc\n\n", "abc\n"), (b"a b\xc3\xa9", "a bé")],
)
def test_one_trailing_newline_is_stripped(secret_file: Path, content: bytes, password: str):
    """Editors add one newline; a second one belongs to the secret."""
    secret_file.write_bytes(content)
    settings = load_password(secret_file)

    assert settings.redis.password is not None
    assert settings.redis.password.value == password
    assert settings.redis.password_file == secret_file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (CANARY + b"\0", "NUL"),
        (CANARY + b"\xff", "UTF-8"),
        (CANARY * 6000, "larger than 64 KiB"),
    ],
)
def test_unusable_content_is_named(secret_file: Path, content: bytes, words: str):
    """Empty, oversize and binary files are refused by variable and path, not by content."""
    secret_file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_password(secret_file)

    assert str(caught.value).startswith(f"REDIS_PASS: REDIS_PASS_FILE: {secret_file} ")
    assert words in str(caught.value)
    assert CANARY.decode() not in str(caught.value)


def test_64_kib_are_allowed(secret_file: Path):
    """The limit itself is still a secret."""
    secret_file.write_bytes(b"x" * 64 * 1024)
    assert load_password(secret_file).redis.password


def test_unreadable_places_are_named(tmp_path: Path):
    """Missing files, directories and pipes are refused at once; a pipe does not block the start."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in [(tmp_path / "gone", "does not exist"), (tmp_path, "not a regular"), (pipe, "not a regular")]:
        with pytest.raises(ConfigurationError, match=words):
            load_password(path)


@pytest.mark.parametrize("setting", [setting for setting in SETTINGS if setting.secret], ids=lambda s: s.name)
def test_every_secret_can_come_from_a_file_but_not_from_two_places(setting, secret_file: Path):
    """NAME_FILE works for each secret, and both given is an error that shows neither."""
    secret_file.write_text("redis://:canary-77aa@redis")
    users = {
        "MQ_ADMIN_PASS": "MQ_ADMIN_USER",
        **{f"MQ_NODE{i}_PASS": f"MQ_NODE{i}_WORKER" for i in (1, 2, 3)},
    }
    environ = {**MINIMAL, f"{setting.name}_FILE": str(secret_file)}
    if setting.name in users:
        environ[users[setting.name]] = "name"
    one = {name: text for name, text in environ.items() if name != setting.name}
    assert load(one, None).warnings == ()

    with pytest.raises(ConfigurationError) as caught:
        load({**environ, setting.name: "redis://canary-77aa"}, None)
    assert f"{setting.name}: given twice, here and as {setting.name}_FILE" in str(caught.value)
    assert CANARY.decode() not in str(caught.value)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_file_for_everybody_is_a_warning(secret_file: Path, mode: int, warned: bool):
    """A secret that others on the machine can read is reported with its mend."""
    secret_file.write_bytes(CANARY)
    secret_file.chmod(mode)
    warnings = load_password(secret_file).warnings

    assert any("chmod 600" in warning for warning in warnings) is warned
    assert CANARY.decode() not in "".join(warnings)


def test_mounted_secrets_may_be_world_readable(secret_file: Path, monkeypatch: pytest.MonkeyPatch):
    """Swarm mounts secrets with mode 0444 under its own directory; that is no reason to warn."""
    monkeypatch.setattr(secrets_module, "MOUNTED_SECRETS", secret_file.parent)
    secret_file.write_bytes(CANARY)
    secret_file.chmod(0o444)

    assert load_password(secret_file).warnings == ()


def test_trailing_carriage_return_is_a_warning(secret_file: Path):
    """A file written on Windows is the usual reason for a password that is wrong and looks right."""
    secret_file.write_bytes(b"abc\r\n")
    assert any("line end" in warning for warning in load_password(secret_file).warnings)
