"""The stack as its files and variables describe it: names with hashes, placements, and no secret anywhere."""

import json
import shutil
from pathlib import Path

import pytest

from rmqcluster.errors import ConfigurationError
from rmqcluster.swarm import environment, project, rendering, settings
from rmqcluster.swarm.project import Project, brokers

TOP = Path(__file__).parent.parent.parent
FILES = ("compose.yml", "compose.publish.yml", "rabbitmq.conf", "enabled_plugins", "definitions.json", "redis.conf")
SECRETS = (
    *("RABBITMQ_ERLANG_COOKIE", "REDIS_PASS", "MQ_ADMIN_PASS", "MQ_NODE1_PASS", "MQ_NODE2_PASS", "MQ_NODE3_PASS"),
    *("RMQCLUSTER_HTTP_TOKEN", "POSTGRES_PASS"),
)
CANARIES = {name: f"canary-of-{name.lower()}-$x" for name in SECRETS}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The stack's own files, to be changed at will."""
    for name in (*FILES, "postgresql.conf", "image/redis-start.sh", ".env.example"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(TOP / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def stack() -> rendering.Stack:
    """The stack of this checkout with default settings."""
    return Project(TOP, CANARIES).render()


def names_of(checkout: Path, **changes: str) -> dict[str, str]:
    """Secrets and configs by their key, with the names that Swarm gets."""
    found = Project(checkout, {**CANARIES, **changes}).render()
    return {key: one["name"] for part in ("secrets", "configs") for key, one in found[part].items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize("name", SECRETS)
def test_a_new_value_is_a_new_secret(name: str) -> None:
    """A changed value changes that secret's name and no other: Swarm sees an update."""
    assert changed(names_of(TOP), names_of(TOP, **{name: "new"})) == {name.lower()}


def test_new_content_is_a_new_config(checkout: Path) -> None:
    """A changed file changes its config's name and no other."""
    before = names_of(checkout)
    with (checkout / "rabbitmq.conf").open("a") as conf:
        conf.write("\n# one line more\n")

    assert changed(before, names_of(checkout)) == {"rabbitmq_conf"}


def test_a_secrets_name_does_not_tell_two_stacks_share_it() -> None:
    """The same password has another hash in another stack, and names are short enough for Swarm."""
    one, two = names_of(TOP), names_of(TOP, STACK="other")
    ends = [{name.rpartition("_")[2] for key, name in names.items() if key.upper() in SECRETS} for names in (one, two)]

    assert not ends[0] & ends[1]
    assert all(name.startswith("other_") and len(name) <= 64 for name in two.values())


def test_secrets_are_named_in_the_stack_as_they_are_made() -> None:
    """What is made in Swarm is what the services ask for, each with its own value."""
    mine = Project(TOP, CANARIES)
    asked = {one["name"] for one in mine.render()["secrets"].values()}

    assert mine.secrets().keys() == asked
    assert sorted(mine.secrets().values()) == sorted(CANARIES.values())


@pytest.mark.parametrize("more", [{}, {"PUBLISH": "1"}, {"SINGLE_HOST": "1"}])
def test_no_secret_is_in_what_is_deployed(more: dict[str, str]) -> None:
    """Neither the file for `docker stack deploy` nor any label holds a secret, or a variable that nobody asked for."""
    mine = Project(TOP, {**CANARIES, "UNRELATED": "canary", **more})
    text = rendering.text(rendering.absolute(rendering.marked(mine.render()), TOP))

    assert "canary" not in text
    assert "canary" not in json.dumps(rendering.marked(mine.render()))


def test_what_lacks_a_value_is_told() -> None:
    """A secret that is missing or empty is named; with all of them nothing is."""
    assert Project(TOP, CANARIES).without_secrets() == []
    lacking = Project(TOP, {**CANARIES, "REDIS_PASS": "", "POSTGRES_PASS": ""}).without_secrets()
    assert sorted(lacking) == ["POSTGRES_PASS", "REDIS_PASS"]
    assert sorted(Project(TOP, {}).without_secrets()) == sorted(SECRETS)


def test_the_example_is_all_that_is_needed(checkout: Path) -> None:
    """`make env` alone gives every secret that the stack wants."""
    environment.write(checkout / ".env.example", checkout / ".env")
    mine = project.find(checkout, {})

    assert mine.without_secrets() == []
    assert len(set(mine.secrets().values())) == len(SECRETS)


def placements(found: rendering.Stack) -> dict[str, str]:
    return {name: one["deploy"]["placement"]["constraints"][0] for name, one in found["services"].items()}


def test_placements_are_the_three_labels(stack: rendering.Stack) -> None:
    """Each broker and PostgreSQL stay with their data; Redis may go to any manager."""
    assert placements(stack) == {
        "rabbitmq1": "node.labels.manager-master == true",
        "rabbitmq2": "node.labels.manager-rep1 == true",
        "rabbitmq3": "node.labels.manager-rep2 == true",
        "redis": "node.role == manager",
        "postgres": "node.labels.manager-master == true",
    }


@pytest.mark.parametrize("yes", ["1", "yes", "TRUE"])
def test_one_host_needs_no_label(yes: str) -> None:
    """With SINGLE_HOST everything may run on any manager."""
    found = Project(TOP, {**CANARIES, "SINGLE_HOST": yes}).render()

    assert set(placements(found).values()) == {"node.role == manager"}


@pytest.mark.parametrize("no", ["", "0", "no"])
def test_no_is_no(no: str) -> None:
    """SINGLE_HOST and PUBLISH set to no are not set."""
    found = Project(TOP, {**CANARIES, "SINGLE_HOST": no, "PUBLISH": no}).render()

    assert placements(found)["rabbitmq1"] == "node.labels.manager-master == true"
    assert len(found["services"]["rabbitmq1"]["ports"]) == 1


def test_an_explicit_placement_wins() -> None:
    """What a person wrote holds with SINGLE_HOST as well."""
    mine = {**CANARIES, "SINGLE_HOST": "1", "RABBITMQ2_PLACEMENT": "node.hostname == b"}

    assert placements(Project(TOP, mine).render())["rabbitmq2"] == "node.hostname == b"


def published(found: rendering.Stack) -> dict[str, list[tuple[int, int]]]:
    services = found["services"].items()
    return {name: [(p["target"], p["published"]) for p in one.get("ports", ())] for name, one in services}


def test_publishing_is_on_request() -> None:
    """PUBLISH=1 adds AMQP, Redis and PostgreSQL to the consoles; variables choose the ports."""
    found = Project(TOP, {**CANARIES, "PUBLISH": "1", "REDIS_PUBLISHED_PORT": "7000"}).render()

    assert published(found) == {
        "rabbitmq1": [(15672, 15672), (5672, 5672)],
        "rabbitmq2": [(15672, 15673), (5672, 5673)],
        "rabbitmq3": [(15672, 15674), (5672, 5674)],
        "redis": [(6379, 7000)],
        "postgres": [(5432, 5432)],
    }


def test_members_are_known_by_their_label(stack: rendering.Stack) -> None:
    """Who is rolled one by one is whoever is labelled as a broker."""
    assert brokers(stack) == ["rabbitmq1", "rabbitmq2", "rabbitmq3"]


def test_nothing_is_left_to_fill_in(stack: rendering.Stack) -> None:
    """Swarm's own templates stay; no variable of ours does."""
    text = json.dumps(stack)

    assert "${" not in text
    assert "{{.Node.ID}}" in text


def test_what_is_rendered_twice_does_not_differ(stack: rendering.Stack) -> None:
    """The same files and variables are the same stack, service by service."""
    marked = rendering.marked(Project(TOP, CANARIES).render())

    assert differing(stack, marked) == {}


def differing(now: rendering.Stack, marked: rendering.Stack) -> dict[str, tuple[str, ...]]:
    """Services that differ from those that were marked, with what differs."""
    found = {}
    for name in now["services"]:
        label = marked["services"][name]["deploy"]["labels"][rendering.RENDERED_LABEL]
        lines = rendering.differences(rendering.described(now, name), label)
        assert lines is not None
        found[name] = lines
    return {name: lines for name, lines in found.items() if lines}


MEMBERS = {"rabbitmq1", "rabbitmq2", "rabbitmq3"}


@pytest.mark.parametrize(
    ("changes", "services"),
    [
        ({"MQ_ADMIN_PASS": "new"}, MEMBERS),
        ({"REDIS_PASS": "new"}, {*MEMBERS, "redis"}),
        ({"POSTGRES_PASS": "new"}, {"postgres"}),
        ({"FOG_NETWORK": "new"}, {*MEMBERS, "redis", "postgres"}),
        ({"RABBITMQ2_CONSOLE_PORT": "1"}, {"rabbitmq2"}),
        ({"REDIS_PLACEMENT": "node.hostname == a"}, {"redis"}),
    ],
)
def test_who_uses_what_changed_differs(stack: rendering.Stack, changes: dict[str, str], services: set[str]) -> None:
    """A new secret, network or setting concerns the services that use it, and is told; no value of a secret is."""
    found = differing(Project(TOP, {**CANARIES, **changes}).render(), rendering.marked(stack))

    assert found.keys() == services
    assert "canary" not in str(found)
    assert all(len(lines) == 1 for lines in found.values())


def test_who_uses_a_changed_file_differs(checkout: Path, stack: rendering.Stack) -> None:
    """An edited configuration file is deployed to those that read it."""
    with (checkout / "rabbitmq.conf").open("a") as conf:
        conf.write("\n# one line more\n")
    found = differing(Project(checkout, CANARIES).render(), rendering.marked(stack))

    assert found.keys() == MEMBERS
    assert found["rabbitmq1"][0].startswith("names.rabbitmq_conf: fog_rabbitmq_conf_")


def test_a_file_that_is_missing_is_told(checkout: Path) -> None:
    """Which file, and who names it."""
    (checkout / "redis.conf").unlink()

    with pytest.raises(ConfigurationError, match=r"redis\.conf, which compose\.yml names, cannot be read"):
        Project(checkout, CANARIES).render()


def test_another_directory_is_told(tmp_path: Path) -> None:
    """Outside of a checkout the error says so; looking at what runs needs no file at all."""
    with pytest.raises(ConfigurationError, match=r"compose\.yml cannot be read"):
        Project(tmp_path, CANARIES).render()
    with pytest.raises(ConfigurationError, match="make env"):
        project.find(tmp_path, {})
    assert project.variables_here(tmp_path, {"STACK": "x"}) == {"STACK": "x"}


def test_each_stack_may_have_its_own_file(tmp_path: Path) -> None:
    """ENV_FILE names another file than `.env`; set to nothing it is `.env`."""
    (tmp_path / ".env").write_text("STACK=one\n")
    (tmp_path / "two.env").write_text("STACK=two\n")

    assert project.find(tmp_path, {"ENV_FILE": "two.env"}).stack == "two"
    assert project.find(tmp_path, {"ENV_FILE": ""}).stack == "one"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RMQCLUSTER_TTL_SECONDS": "soon"}, 'RMQCLUSTER_TTL_SECONDS: "soon" is not allowed'),
        ({"RMQCLUSTER_HEARTBEAT_SECONDS": "10"}, "RMQCLUSTER_TTL_SECONDS: .* at least 3 heartbeats"),
        ({"RMQCLUSTER_SETLE_SECONDS": "5"}, "RMQCLUSTER_SETLE_SECONDS: no such setting; did you mean"),
        ({"RABBITMQ_ERLANG_COOKIE": "canary of two"}, "RABBITMQ_ERLANG_COOKIE: the value .not shown. is not allowed"),
        ({"REDIS_PASS": "canary\nrest"}, "a line end or another control character is in REDIS_PASS"),
        ({"MQ_NODE1_WORKER": "guest"}, 'MQ_NODE1_WORKER: "guest" is removed from every cluster'),
        ({"MQ_NODE1_WORKER": "admin"}, "MQ_NODE1_WORKER: .* is also another account's name"),
    ],
)
def test_what_the_members_would_refuse_is_refused_before(changes: dict[str, str], words: str) -> None:
    """A setting that keeps a broker from starting does not get to the first one; no secret is told."""
    wanted = Project(TOP, {**CANARIES, "RABBITMQ_ERLANG_COOKIE": "canary", **changes})
    with pytest.raises(ConfigurationError, match=words) as trouble:
        settings.check(wanted, wanted.render())
    assert "canary" not in str(trouble.value)


def test_what_the_members_take_is_taken() -> None:
    """The example as it is, other settings, and passwords with anything in them."""
    more = {"RMQCLUSTER_SETTLE_SECONDS": "5", "RMQCLUSTER_LOG": "json", "MQ_ADMIN_PASS": "a 'b\\\"c# $d"}
    for wanted in (Project(TOP, CANARIES), Project(TOP, {**CANARIES, **more})):
        settings.check(wanted, wanted.render())
