"""The Makefile: thin over commands that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rmqcluster.cli.main import _swarm, cli

TOP = Path(__file__).parent.parent.parent
MAKEFILE = (TOP / "Makefile").read_text()
RULE = re.compile(r"^([a-z][a-z-]*):(.*?)(?:## (.*))?\n((?:\t.*\n)*)", re.M)
RULES = {found[1]: found for found in RULE.finditer(MAKEFILE)}
ON_THE_STACK = (
    *("up", "down", "restart", "clean", "env", "status", "health", "rabbitmq", "redis", "postgres", "rabbitmq-cli"),
    *("redis-cli", "postgres-cli", "logs", "logs-follow", "debug", "monitor", "rabbitmq-ui", "rabbitmq-purge"),
    *("redis-flush", "redis-clear-cluster", "postgres-create-db", "postgres-drop-db"),
)
OTHERS = (
    *("help", "all", "build", "demo", "demo-status", "demo-kill", "demo-start", "demo-down", "test", "test-failover"),
    *("test-swarm", "test-matrix", "lint", "bench", "sim", "chaos"),
)
DESTROYING = ("down", "restart", "rabbitmq-purge", "redis-flush", "redis-clear-cluster", "postgres-drop-db")


@pytest.fixture(scope="module")
def swarm() -> click.Group:
    found = _swarm()
    assert isinstance(found, click.Group)
    return found


@pytest.mark.parametrize("target", [*ON_THE_STACK, *OTHERS])
def test_every_target_is_there_and_explained(target: str) -> None:
    """Each target of the contract exists, is no file, and says in the list what it does."""
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, re.M)

    assert phony
    assert target in phony[1].replace("\\\n", " ").split()
    assert RULES[target][3], f"{target} has no help line"


def test_help_is_what_a_bare_make_does() -> None:
    """`make` alone starts nothing, and its list has every target."""
    assert ".DEFAULT_GOAL := help" in MAKEFILE
    done = subprocess.run(["make", "-C", str(TOP)], capture_output=True, text=True, timeout=20, check=True)

    assert set(re.findall(r"^  ([a-z-]+) ", done.stdout, re.M)) == {name for name, rule in RULES.items() if rule[3]}


def recipe(target: str, *given: str) -> str:
    """What make would run, with its variables filled in."""
    argv = ["make", "--no-print-directory", "-C", str(TOP), "-n", "-o", "setup", "-o", "client", target, *given]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True, env=PLAIN).stdout


PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.mark.parametrize("target", ON_THE_STACK)
def test_targets_of_the_stack_call_commands_that_exist(target: str, swarm: click.Group) -> None:
    """One command of `rmqcluster swarm` does the work, and takes what the recipe gives it."""
    (line,) = [line for line in RULES[target][4].splitlines() if line.strip()]
    assert line.startswith(("\t@$(SWARM) ", "\t@$(if $(filter demo,$(TARGET))"))
    (words,) = re.findall(r"-m rmqcluster swarm (.*)", recipe(target, "YES=1", "NAME=redis", "DB=x", "STACK=y"))
    name, *arguments = words.replace("'", "").split()
    command = swarm.commands[name]

    command.make_context(name, arguments, parent=click.Context(swarm))


@pytest.mark.parametrize("target", DESTROYING)
def test_who_destroys_asks(target: str) -> None:
    """Without YES=1 the command asks; with it, it does not."""
    assert "--yes" not in recipe(target)
    assert "--yes" not in recipe(target, "YES=0")
    assert recipe(target, "YES=1").rstrip().endswith("--yes")


def test_clean_takes_no_yes() -> None:
    """Only the stack's name answers for a script."""
    assert "--yes" not in recipe("clean", "YES=1")
    assert "--stack" not in recipe("clean", "YES=1")
    assert recipe("clean", "STACK=fog").rstrip().endswith("clean --stack 'fog'")


def test_every_swarm_command_has_help(swarm: click.Group) -> None:
    """Each command says what it is for."""
    assert all(command.help for command in swarm.commands.values())
    assert cli.get_command(click.Context(cli), "swarm") is not None


@pytest.mark.parametrize("arguments", [[], ["logs", "--follow", "x"]])
def test_without_the_sdk_it_says_what_to_do(arguments: list[str]) -> None:
    """Inside the image, where Docker's SDK is not, every command ends with words, and so does nothing else."""
    script = (
        "import sys; sys.modules['docker'] = None\n"
        "from rmqcluster.cli.main import run; sys.exit(run(['swarm', *sys.argv[1:]]))"
    )
    argv = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, cwd=TOP)

    assert done.returncode == 78
    words = "rmqcluster: the module docker is not here: the stack is deployed from a checkout (make up)\n"
    assert (done.stdout, done.stderr) == ("", words)


def test_make_is_there() -> None:
    """The tests above mean something."""
    assert shutil.which("make")
