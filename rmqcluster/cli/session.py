"""What every command shares: which cluster is meant (`--demo`), its settings, its store, and `--json`."""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import click

from rmqcluster.config.load import load
from rmqcluster.config.settings import Settings
from rmqcluster.store.redis_store import RedisStore

F = TypeVar("F", bound=Callable[..., Any])
DEMO_KEY = "demo"


@dataclass(frozen=True)
class Session:
    """One invocation. Settings are read when they are first needed; raises ConfigurationError then."""

    demo: bool = False

    @cached_property
    def settings(self) -> Settings:
        """As a client: a member's own settings may be missing. The demo's settings never mix with the machine's."""
        if self.demo:
            from rmqcluster.demo.state import client_environment

            return load(client_environment(), None, role="client")
        return load(os.environ, role="client")

    @cached_property
    def store(self) -> RedisStore:
        """Reads and the operator's acts; it never beats."""
        return RedisStore(self.settings, node=self.settings.node, instance=f"cli-{uuid.uuid4().hex}")

    @property
    def supervisors(self) -> dict[str, str]:
        """ "host:port" -> node name of the supervisors that are known without Redis."""
        if self.demo:
            from rmqcluster.demo.layout import default_directory
            from rmqcluster.demo.state import load as load_demo

            return {f"127.0.0.1:{node.http_port}": node.name for node in load_demo(default_directory()).nodes}
        bind = self.settings.http_bind
        local = "127.0.0.1" if bind in ("0.0.0.0", "::", "[::]") else bind  # noqa: S104 - compared, not bound
        return {f"{local}:{self.settings.http_port}": self.settings.node}


def command_options(*, as_json: bool = True) -> Callable[[F], F]:
    """Adds `--demo` and `--json`, and hands the command a `Session` as its first argument."""

    def decorate(function: F) -> F:
        def with_session(*args: Any, demo: bool, **options: Any) -> Any:
            root = click.get_current_context().find_root()
            return function(Session(demo or bool((root.obj or {}).get(DEMO_KEY))), *args, **options)

        with_session.__name__, with_session.__doc__ = function.__name__, function.__doc__
        with_session.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        decorated: Any = click.option("--demo", is_flag=True, help="Speak to the demo on this machine.")(with_session)
        if as_json:
            decorated = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def echo_json(document: object, *, indent: int | None = 2) -> None:
    click.echo(json.dumps(document, indent=indent))
