"""What has to be there before the stack is deployed, and the command that mends what is not. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmqcluster.swarm.facts import Node

_CONSTRAINT = re.compile(r"^\s*(?P<key>[\w.-]+)\s*(?P<how>==|!=)\s*(?P<value>.*?)\s*$")
_LABEL = "node.labels."


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is missing, and what to type."""

    what: str
    mend: str


def placements(
    services: Mapping[str, Mapping[str, Any]], nodes: Sequence[Node], *, single_host: bool = False
) -> list[Lack]:
    """A lack for every placement that no ready node fulfils; equal ones are told once."""
    found: dict[str, Lack] = {}
    free = [node.name for node in nodes if node.is_manager and node.is_ready and not node.labels]
    for service in services.values():
        constraints = [str(one) for one in service["deploy"].get("placement", {}).get("constraints", ())]
        words = " and ".join(constraints)
        there = [node for node in nodes if fulfils(node, constraints)]
        if words in found or any(node.is_ready for node in there):
            continue
        if there:
            found[words] = _not_ready(there[0], words)
        elif len(nodes) == 1 and not single_host and _LABEL in words:
            return [Lack("this Swarm has one host, and the stack is meant for three", "make up SINGLE_HOST=1")]
        else:
            found[words] = Lack(f"no node with {words}", _mend(constraints, free))
    return list(found.values())


def one_host(nodes: Sequence[Node]) -> list[Lack]:
    """For SINGLE_HOST: on several managers Swarm spreads the services, and may start one away from its data later."""
    managers = [node.name for node in nodes if node.is_manager]
    if len(managers) < 2:
        return []
    what = f"SINGLE_HOST is for a Swarm with one manager, and this one has {', '.join(managers)}"
    return [Lack(what, "make up  (without it; or set each …_PLACEMENT in .env)")]


def _not_ready(node: Node, words: str) -> Lack:
    what = f"{node.name} ({words}) is not ready"
    if node.is_up:
        return Lack(f"{what}: it takes no tasks", f"docker node update --availability active {node.name}")
    return Lack(f"{what}: it is {node.state}", "docker node ls  (start that host)")


def fulfils(node: Node, constraints: Iterable[str]) -> bool:
    """Swarm's constraints on node.id, node.hostname, node.role and node.labels.*; others are taken to be fulfilled."""
    for constraint in constraints:
        match = _CONSTRAINT.match(constraint)
        if match is None:
            continue
        known = {
            "node.id": node.id,
            "node.hostname": node.name,
            "node.role": "manager" if node.is_manager else "worker",
        }
        key = match["key"]
        have = node.labels.get(key.removeprefix(_LABEL), "") if key.startswith(_LABEL) else known.get(key)
        if have is not None and (have.casefold() == match["value"].casefold()) != (match["how"] == "=="):
            return False
    return True


def _mend(constraints: Sequence[str], free: list[str]) -> str:
    """The first label that is missing, for a manager that has none if there is one; each is named for one label."""
    for constraint in constraints:
        match = _CONSTRAINT.match(constraint)
        if match is not None and match["key"].startswith(_LABEL) and match["how"] == "==":
            label = f"{match['key'].removeprefix(_LABEL)}={match['value']}"
            return f"docker node update --label-add {label} {free.pop(0) if free else 'HOST'}"
    return "docker node ls  (and mend the placement in .env)"


def secrets(names: Sequence[str]) -> list[Lack]:
    if not names:
        return []
    return [Lack(f"no value for {', '.join(names)} in .env", "make env  (in a directory without .env), or write them")]


def images(missing: Sequence[str]) -> list[Lack]:
    return [Lack(f"this host has no image {one}", "make build  (or docker load, docker pull)") for one in missing]


def to_load(names: Sequence[str], nodes: Sequence[Node], me: str) -> str:
    """What has to be typed for hosts that cannot pull these images; "" on one host."""
    others = [node.name for node in nodes if node.id != me and node.is_manager]
    if not others or not names:
        return ""
    commands = [f"  docker save {' '.join(names)} | ssh {host} docker load" for host in others]
    return "\n".join(["in no registry, so each host must have loaded them (or make build REGISTRY=…):", *commands])
