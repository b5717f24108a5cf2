"""`.env`: written once, read after the environment."""

import os
import stat
import threading
from pathlib import Path

import pytest

from rmqcluster.errors import ConfigurationError, OperationRefused
from rmqcluster.swarm import environment

TOP = Path(__file__).parent.parent.parent
EXAMPLE = TOP / ".env.example"
SECRETS = {
    *("POSTGRES_PASS", "REDIS_PASS", "RABBITMQ_ERLANG_COOKIE", "MQ_ADMIN_PASS", "MQ_NODE1_PASS", "MQ_NODE2_PASS"),
    *("MQ_NODE3_PASS", "RMQCLUSTER_HTTP_TOKEN"),
}


def test_every_empty_secret_is_filled_in(tmp_path: Path) -> None:
    """Each secret of the example has a long random value of its own; every other line stays as it is."""
    target = tmp_path / ".env"
    names = environment.write(EXAMPLE, target)
    values = environment.read(target, {})

    assert set(names) == SECRETS
    assert len({values[name] for name in SECRETS}) == len(SECRETS)
    assert min(len(values[name]) for name in SECRETS) >= 32
    pairs = list(zip(EXAMPLE.read_text().splitlines(), target.read_text().splitlines(), strict=True))
    assert {old for old, new in pairs if old != new} == {f"{name}=" for name in SECRETS}


def test_two_writings_have_nothing_in_common(tmp_path: Path) -> None:
    """No secret can be told from another installation's."""
    read = []
    for name in ("one", "two"):
        environment.write(EXAMPLE, tmp_path / name)
        read.append(environment.read(tmp_path / name, {}))

    assert not {read[0][name] for name in SECRETS} & {read[1][name] for name in SECRETS}


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_only_its_owner_can_read_it(tmp_path: Path, mask: int) -> None:
    """Mode 600, whatever the umask allows."""
    before = os.umask(mask)
    try:
        environment.write(EXAMPLE, tmp_path / ".env")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "empty", "dangling link"])
def test_what_is_there_is_not_touched(tmp_path: Path, kind: str) -> None:
    """An `.env` of any kind is refused with its reason, and stays as it was."""
    target = tmp_path / ".env"
    if kind == "dangling link":
        target.symlink_to(tmp_path / "elsewhere")
    else:
        target.write_text("A=1\n" if kind == "file" else "")

    with pytest.raises(OperationRefused, match="was not touched"):
        environment.write(EXAMPLE, target)
    assert not (tmp_path / "elsewhere").exists()
    assert kind == "dangling link" or target.read_text() == ("A=1\n" if kind == "file" else "")


def test_of_many_writers_one_writes(tmp_path: Path) -> None:
    """Under a race one gets its values in, and everybody else is refused."""
    target, start = tmp_path / ".env", threading.Barrier(8)
    won: list[int] = []

    def one(number: int) -> None:
        start.wait(10)
        try:
            environment.write(EXAMPLE, target)
        except OperationRefused:
            return
        won.append(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(won) == 1
    assert len(target.read_text().splitlines()) == len(EXAMPLE.read_text().splitlines())


def test_what_is_filled_in_already_stays(tmp_path: Path) -> None:
    """Only empty secrets get a value: not one that has one, no comment, and nothing that is no secret."""
    example = tmp_path / "example"
    example.write_text("A_PASS=mine\n#B_PASS=\nC_USER=\nD_TOKEN=\nE_PASS_FILE=\n")
    environment.write(example, tmp_path / ".env")
    lines = (tmp_path / ".env").read_text().splitlines()

    assert [*lines[:3], lines[4]] == ["A_PASS=mine", "#B_PASS=", "C_USER=", "E_PASS_FILE="]
    assert len(lines[3]) > len("D_TOKEN=") + 20


def test_the_environment_comes_first(tmp_path: Path) -> None:
    """A variable of the environment hides the one of the file; the file gives the others."""
    (tmp_path / ".env").write_text("A=file\nB=file\nC='a b'\n")

    assert environment.read(tmp_path / ".env", {"A": "given", "D": "given"}) == {
        "A": "given",
        "B": "file",
        "C": "a b",
        "D": "given",
    }


def test_values_are_taken_as_they_are(tmp_path: Path) -> None:
    """A `$` in `.env` means nothing, so that a password may hold one."""
    (tmp_path / ".env").write_text("A=x\nB=$A-${A}\n")

    assert environment.read(tmp_path / ".env", {})["B"] == "$A-${A}"


@pytest.mark.parametrize(("text", "words"), [(None, "make env"), ("just words\n", "line 1 is not NAME=value")])
def test_a_file_that_cannot_be_used_is_told(tmp_path: Path, text: str | None, words: str) -> None:
    """Without a usable `.env` the error says what to do."""
    if text is not None:
        (tmp_path / ".env").write_text(text)

    with pytest.raises(ConfigurationError, match=words):
        environment.read(tmp_path / ".env", {})


def test_the_example_has_to_be_there(tmp_path: Path) -> None:
    """In another directory nothing is written, and the error says where to go."""
    with pytest.raises(ConfigurationError, match="project's directory"):
        environment.write(tmp_path / "none", tmp_path / ".env")
    assert not (tmp_path / ".env").exists()
