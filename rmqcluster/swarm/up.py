"""From an initialised Swarm to a healthy stack; on a running one, from the old description to the new one."""

from collections.abc import Sequence
from dataclasses import dataclass

from rmqcluster.errors import CommandFailed, ConfigurationError
from rmqcluster.swarm import containers, images, preflight, refusing, rendering, settings
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import BROKER_ROLE, ROLE_LABEL, Service
from rmqcluster.swarm.images import Chosen
from rmqcluster.swarm.inside import POSTGRES, Inside, postgres_tool
from rmqcluster.swarm.preflight import Lack
from rmqcluster.swarm.project import Project, brokers
from rmqcluster.swarm.replacing import replaced
from rmqcluster.swarm.rolling import await_whole, roll
from rmqcluster.swarm.waiting import Say, await_running

RUN_SECONDS = 300.0
HEALTHY_SECONDS = 300.0
NOFILE, NOFILE_WANTED = "BROKER_NOFILE", 65536
LINES_MAX = 12  # of one service's differences
LINE_MAX = 160


@dataclass(frozen=True, slots=True)
class Prepared:
    """A project with everything that this Swarm gives: images by digest or id, limits."""

    project: Project
    chosen: tuple[Chosen, ...]
    stack: rendering.Stack


def prepare(project: Project, engine: Engine) -> Prepared:
    """Look at everything that has to be there. Raises ConfigurationError with all that is missing and its mends."""
    chosen, missing = images.choose(project.variables, engine.image)
    project = project.having({one.variable: one.reference for one in chosen})
    stack = check(project, engine, missing)
    if NOFILE not in project.variables:
        limit = containers.open_files_limit(engine, next(one.reference for one in chosen if one.variable == "IMAGE"))
        project = project.having({NOFILE: str(min(NOFILE_WANTED, limit))})
        stack = project.render()
    return Prepared(project, tuple(chosen), stack)


def check(project: Project, engine: Engine, missing_images: Sequence[str] = ()) -> rendering.Stack:
    """Swarm, secrets, placements, settings; the stack as it would be. Raises ConfigurationError, as `prepare`."""
    trouble = engine.swarm_trouble()
    if trouble:
        raise ConfigurationError(f"not ready: {trouble}")
    stack, nodes = project.render(), engine.nodes()
    lacks = [*preflight.secrets(project.without_secrets()), *preflight.images(missing_images)]
    lacks += preflight.placements(stack["services"], nodes, single_host=project.is_single_host)
    lacks += preflight.one_host(nodes) if project.is_single_host else []
    if lacks:
        raise ConfigurationError("\n".join(["not ready:", *map(_told, lacks)]))
    settings.check(project, stack)
    return stack


def broker_image(project: Project, engine: Engine) -> str:
    """What the members run, which their hosts have; else their image on this host. Raises ConfigurationError."""
    services = engine.services(project.stack).values()
    deployed = [one.image for one in services if one.labels.get(ROLE_LABEL) == BROKER_ROLE]
    chosen, _ = images.choose(project.variables, engine.image)
    found = [*deployed, *(one.reference for one in chosen if one.variable == "IMAGE")]
    if not found:
        raise ConfigurationError("this host has no image of the members, which does the work. Type:  make build")
    return found[0]


def _told(lack: Lack) -> str:
    return f"  {lack.what}. Type:  {lack.mend}"


def up(prepared: Prepared, engine: Engine, inside: Inside, say: Say) -> None:
    """Deploy what differs and wait until the cluster is whole. Raises NotRunning, NotWhole, CommandFailed."""
    project, stack = prepared.project, rendering.marked(prepared.stack)
    name, services = project.stack, engine.services(project.stack)
    _say_images(prepared, engine, say)
    if services:
        refusing.changed_secrets(project, engine)
        refusing.two_halves(prepared.stack, services)
    _make_secrets(project, engine)
    everything = list(stack["services"])
    changed = [one for one in everything if one in services and _changes(prepared, services[one], say)]
    absent = [one for one in everything if one not in services]
    directory = str(project.directory)
    if absent:
        say(f"deploying {', '.join(absent)}")
    rolled = [one for one in changed if one in brokers(stack)]
    at_once = [one for one in everything if one not in rolled]

    def deploy(*some: str) -> None:
        engine.deploy(name, rendering.text(rendering.part(stack, some)), directory)

    old: dict[str, str] = {}
    together = [*absent, *(one for one in changed if one not in rolled)]
    if together:  # and nothing else: a broker that somebody changed by hand would be brought back without a roll
        old = replaced(engine, name, together, lambda: deploy(*together))
    elif not changed:
        say("nothing differs from what runs")
    await_running(engine, name, at_once, RUN_SECONDS, say, old)
    if rolled:
        roll(engine, name, rolled, deploy, inside, say)
    await_whole(inside, say, "for the cluster", HEALTHY_SECONDS)
    _remove_old_names(project, stack, engine)
    if POSTGRES in together:
        _log_in_to_postgres(inside)


def _log_in_to_postgres(inside: Inside) -> None:
    """Its volume may be from before: the user, password and database of the first start stay."""
    said = inside.run(POSTGRES, postgres_tool("psql", "-qAtc", "select 1"))
    if said.code != 0:
        raise CommandFailed(
            f"PostgreSQL runs, and what .env has for it does not open it: {said.err.strip()}. Its volume keeps the "
            "POSTGRES_USER, POSTGRES_PASS and POSTGRES_DB of its first start: put those back and type make up",
            exit_status=said.code,
        )


def _changes(prepared: Prepared, service: Service, say: Say) -> bool:
    name = service.name
    if service.replicas == 0:
        say(f"{name}: was scaled to none: it is deployed anew")
        return True
    found = service.labels.get(rendering.RENDERED_LABEL)
    lines = rendering.differences(rendering.described(prepared.stack, name), found)
    if lines is None:
        say(f"{name}: differs, or was deployed by other means: it is deployed anew")
        return True
    if lines:
        say(f"{name}: differs")
        for line in lines[:LINES_MAX]:
            say(f"    {line[:LINE_MAX]}")
        if len(lines) > LINES_MAX:
            say(f"    and {len(lines) - LINES_MAX} more")
    return bool(lines)


def _say_images(prepared: Prepared, engine: Engine, say: Say) -> None:
    for one in prepared.chosen:
        if one.is_standin:
            say(f"{one.variable}: {one.name}, a stand-in from Debian packages for the official image")
    loaded = [one.name for one in prepared.chosen if one.is_local]
    words = preflight.to_load(loaded, engine.nodes(), engine.my_node())
    if words:
        say(words)


def _make_secrets(project: Project, engine: Engine) -> None:
    there = engine.secrets(project.stack)
    for name, value in project.secrets().items():
        if name not in there:
            engine.make_secret(project.stack, name, value)


def _remove_old_names(project: Project, stack: rendering.Stack, engine: Engine) -> None:
    """Secrets and configs of earlier contents that no service uses any more."""
    secrets = {str(one["name"]) for one in stack["secrets"].values()}
    configs = {str(one["name"]) for one in stack["configs"].values()}
    engine.remove_secrets([key for name, key in engine.secrets(project.stack).items() if name not in secrets])
    engine.remove_configs([key for name, key in engine.configs(project.stack).items() if name not in configs])
