"""What has to be there before the stack is deployed: images, hosts and their labels."""

from typing import Any

import pytest
from stack_fakes import node

from rmqcluster.swarm import images, preflight
from rmqcluster.swarm.facts import Image
from rmqcluster.swarm.preflight import Lack

MASTER, REP1, REP2 = "manager-master", "manager-rep1", "manager-rep2"
THREE = (
    node("manager1", labels={MASTER: "true"}),
    node("manager2", labels={REP1: "true"}),
    node("manager3", labels={REP2: "true"}),
)
ALL_IMAGES = {
    "rmqcluster:latest": Image("sha256:1"),
    "redis:8-alpine": Image("sha256:2"),
    "postgres:18-alpine": Image("sha256:3"),
}


def services(*constraints: str) -> dict[str, Any]:
    """A service for each constraint."""
    return {f"s{n}": {"deploy": {"placement": {"constraints": [c]}}} for n, c in enumerate(constraints)}


LABELS = services(*(f"node.labels.{label} == true" for label in (MASTER, REP1, REP2, MASTER)), "node.role == manager")


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("node.id == id-manager1", True),
        ("node.id != id-manager1", False),
        ("node.hostname == manager1", True),
        ("node.hostname==other", False),
        ("node.role == manager", True),
        ("node.role == worker", False),
        ("node.role != worker", True),
        ("node.role == Manager", True),
        ("node.labels.zone == a", True),
        ("node.labels.zone == b", False),
        ("node.labels.zone != b", True),
        ("node.labels.other == a", False),
        ("node.labels.other != a", True),
        ("node.platform.os == windows", True),
        ("engine.labels.x == y", True),
        ("no constraint", True),
    ],
)
def test_a_constraint_means_what_it_means_to_swarm(constraint: str, expected: bool) -> None:
    """Ids, names, roles and labels are compared as Swarm does; what is not known here counts as fulfilled."""
    assert preflight.fulfils(node("manager1", labels={"zone": "a"}), [constraint]) is expected


def test_every_constraint_counts() -> None:
    """A node fulfils a placement when it fulfils all of it."""
    here = node("manager1", labels={"zone": "a"})

    assert preflight.fulfils(here, [])
    assert not preflight.fulfils(here, ["node.role == manager", "node.labels.zone == b"])


def test_labelled_hosts_lack_nothing() -> None:
    """With the three labels there is a place for everything."""
    assert preflight.placements(LABELS, THREE) == []


def test_three_fresh_hosts_get_a_label_each() -> None:
    """The commands that are told, typed as they stand, put one label on each host; equal lacks are told once."""
    fresh = tuple(map(node, ("manager1", "manager2", "manager3")))

    assert [lack.mend for lack in preflight.placements(LABELS, fresh)] == [
        "docker node update --label-add manager-master=true manager1",
        "docker node update --label-add manager-rep1=true manager2",
        "docker node update --label-add manager-rep2=true manager3",
    ]


def test_a_label_is_for_a_host_that_has_none() -> None:
    """Workers, hosts that are not ready and hosts with a label are not named; when nobody is left, a person chooses."""
    hosts = (THREE[0], node("manager2", state="down"), node("worker1", is_manager=False), node("manager3"))

    assert [lack.mend.rpartition(" ")[2] for lack in preflight.placements(LABELS, hosts)] == ["manager3", "HOST"]


@pytest.mark.parametrize(
    ("changes", "what", "mend"),
    [
        ({"state": "down"}, "it is down", "docker node ls  (start that host)"),
        ({"takes_tasks": False}, "it takes no tasks", "docker node update --availability active manager2"),
    ],
)
def test_a_host_that_is_there_and_not_ready_is_named(changes: dict[str, Any], what: str, mend: str) -> None:
    """A host that is down, or drained, is told with what brings it back: its label is not missing."""
    hosts = (THREE[0], node("manager2", labels={REP1: "true"}, **changes), THREE[2])

    (lack,) = preflight.placements(LABELS, hosts)
    assert lack.what == f"manager2 (node.labels.{REP1} == true) is not ready: {what}"
    assert lack.mend == mend


def test_one_ready_host_is_enough() -> None:
    """A host that is down does not matter while another one fulfils the same placement."""
    hosts = (*THREE, node("manager4", state="down", labels={MASTER: "true"}))

    assert preflight.placements(LABELS, hosts) == []


def test_one_host_is_told_of_its_variable() -> None:
    """On a Swarm of one host without labels the mend is SINGLE_HOST=1, and nothing else is told."""
    (lack,) = preflight.placements(LABELS, (node("manager1"),))

    assert lack.mend == "make up SINGLE_HOST=1"


def test_one_host_with_the_variable_is_told_of_its_labels() -> None:
    """Who set SINGLE_HOST and asks for a label is told of the label: the variable would not help again."""
    found = preflight.placements(services("node.labels.zone == a"), (node("manager1"),), single_host=True)

    assert found == [
        Lack("no node with node.labels.zone == a", "docker node update --label-add zone=a manager1"),
    ]


def test_one_host_is_one_manager() -> None:
    """With several the services would be on several, and not stay where their data is; workers take none of them."""
    assert preflight.one_host((node("manager1"), node("worker1", is_manager=False))) == []

    (lack,) = preflight.one_host(THREE)
    assert lack.what.endswith("this one has manager1, manager2, manager3")


def test_one_host_that_is_drained_is_told_so() -> None:
    """One host with the labels that takes no tasks needs no variable, but to take tasks."""
    drained = node("manager1", takes_tasks=False, labels=dict.fromkeys((MASTER, REP1, REP2), "true"))

    assert {lack.mend for lack in preflight.placements(LABELS, (drained,))} == {
        "docker node update --availability active manager1"
    }


def test_a_placement_without_a_label_is_mended_in_dotenv() -> None:
    """A host name that no host has is no label to add."""
    (lack,) = preflight.placements(services("node.hostname == gone"), THREE)

    assert lack == Lack("no node with node.hostname == gone", "docker node ls  (and mend the placement in .env)")


def test_secrets_and_images_are_told_with_their_mends() -> None:
    """All secrets are told at once; each image with the command that makes it."""
    assert preflight.secrets([]) == []
    assert "A_PASS, B_PASS" in preflight.secrets(["A_PASS", "B_PASS"])[0].what
    assert [lack.mend.split("  ")[0] for lack in preflight.images(["a (IMAGE)", "b (REDIS_IMAGE)"])] == [
        "make build"
    ] * 2


def test_other_managers_have_to_load_what_is_in_no_registry() -> None:
    """A command for each other manager with all images; none on one host, and none without such images."""
    words = preflight.to_load(["a:1", "b:1"], THREE, "id-manager1").splitlines()[1:]

    assert words == [f"  docker save a:1 b:1 | ssh {host} docker load" for host in ("manager2", "manager3")]
    assert preflight.to_load([], THREE, "id-manager1") == ""
    assert preflight.to_load(["a:1"], THREE[:1], "id-manager1") == ""


def test_local_images_are_named_by_their_id() -> None:
    """What no registry has means the same on every host by its id, and needs loading there."""
    chosen, missing = images.choose({}, ALL_IMAGES.get)

    assert missing == []
    assert [(one.reference, one.is_local) for one in chosen] == [(f"sha256:{n}", True) for n in (1, 2, 3)]


def test_official_images_come_before_stand_ins() -> None:
    """A stand-in is taken where the official one is not there, and is known to be one."""
    there = {**ALL_IMAGES, "rmqcluster/standin-redis:sid": Image("sha256:4")}
    first = {one.variable: one for one in images.choose({}, there.get)[0]}["REDIS_IMAGE"]
    del there["redis:8-alpine"]
    second = {one.variable: one for one in images.choose({}, there.get)[0]}["REDIS_IMAGE"]

    assert (first.name, first.is_standin) == ("redis:8-alpine", False)
    assert (second.name, second.is_standin) == ("rmqcluster/standin-redis:sid", True)


def test_an_image_that_is_asked_for_is_the_only_one() -> None:
    """A variable that names an image which is not there is a lack, whatever else is there."""
    chosen, missing = images.choose({"REDIS_IMAGE": "mine:1"}, ALL_IMAGES.get)

    assert missing == ["mine:1 (REDIS_IMAGE)"]
    assert [one.variable for one in chosen] == ["IMAGE", "POSTGRES_IMAGE"]


@pytest.mark.parametrize(
    ("name", "digests", "registry", "expected"),
    [
        ("redis:8", ("mirror:5000/redis@sha256:a", "redis@sha256:b"), "", "redis@sha256:b"),
        ("docker.io/library/redis:8", ("mirror:5000/redis@sha256:a", "redis@sha256:b"), "", "redis@sha256:b"),
        ("mirror:5000/redis", ("redis@sha256:b", "mirror:5000/redis@sha256:a"), "", "mirror:5000/redis@sha256:a"),
        ("redis@sha256:b", ("mirror:5000/redis@sha256:b", "redis@sha256:b"), "", "redis@sha256:b"),
        ("redis:8", ("old:5000/redis@sha256:a", "new:5000/redis@sha256:b"), "new:5000/", "new:5000/redis@sha256:b"),
        ("redis:8", ("mirror:5000/redis@sha256:a",), "", "mirror:5000/redis@sha256:a"),
    ],
)
def test_an_image_of_a_registry_is_named_by_its_digest_there(
    name: str, digests: tuple[str, ...], registry: str, expected: str
) -> None:
    """The repository that was asked for comes first, then the one that was pushed to, then any that has it."""
    variables = {"REDIS_IMAGE": name, "REGISTRY": registry}
    chosen, _ = images.choose(variables, lambda asked: Image("sha256:9", digests) if asked == name else None)

    assert [(one.reference, one.is_local) for one in chosen] == [(expected, False)]
