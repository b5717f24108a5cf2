"""The routes, pure: a request and the newest observation in, an answer out.

Every route is a row of `ROUTES`. What only reads is open; every other method needs the token, checked here once
for all routes, also for those that do not exist, so that a new verb cannot forget it. Nothing secret is shown.
"""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass

from rmqcluster.agent.published import Published
from rmqcluster.api.document import status_of
from rmqcluster.api.metrics import metrics_text
from rmqcluster.api.page import page_html
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import BrokerPhase
from rmqcluster.core.status import Status, shown

LIVE_SECONDS = 10.0  # the loop never blocks longer than a third of the TTL; twice that is a loop that hangs
OPEN_METHODS = ("GET", "HEAD")
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
HTML, PROMETHEUS = "text/html; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """`path` has no query; `authorization` is the header as it came, or None."""

    method: str
    path: str
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What an answer may depend on. Times are monotonic seconds; `published` is None before the first tick.

    `alive_at` is the last sign of life before that, and `waits_for` what was waited for then.
    """

    settings: Settings
    published: Published | None
    now: float
    alive_at: float
    waits_for: str = ""

    @property
    def tick_age_seconds(self) -> float:
        """Age of the loop's last tick; before the first one, of the last sign of life."""
        return max(0.0, self.now - (self.published.tick_at if self.published else self.alive_at))

    @property
    def status(self) -> Status | None:
        return status_of(self.published, self.now, self.settings) if self.published else None


Handler = Callable[[Scene], Answer]


def answer(request: Request, scene: Scene) -> Answer:
    """The one entry: authority first, then the path, then the method."""
    if request.method not in OPEN_METHODS:
        refusal = _refuse(request.authorization, scene.settings)
        if refusal is not None:
            return refusal
    methods = ROUTES.get(request.path)
    if methods is None:
        return Answer(404, TEXT, "no such path\n")
    handler = methods.get("GET" if request.method == "HEAD" else request.method)
    if handler is None:
        allowed = ", ".join(sorted(set(methods) | ({"HEAD"} if "GET" in methods else set())))
        return Answer(405, TEXT, f"this path takes {allowed}\n", (("Allow", allowed),))
    return handler(scene)


def _refuse(authorization: str | None, settings: Settings) -> Answer | None:
    """None when the caller may change something."""
    token = settings.http_token.value if settings.http_token else ""
    if not token:
        return Answer(403, TEXT, "nothing can be changed here: RMQCLUSTER_HTTP_TOKEN is not set\n")
    given = (authorization or "").encode("utf-8", "replace")
    if hmac.compare_digest(given, f"Bearer {token}".encode()):
        return None
    needs = (("WWW-Authenticate", 'Bearer realm="rmqcluster"'),)
    return Answer(401, TEXT, "this needs the header Authorization: Bearer <token>\n", needs)


def livez(scene: Scene) -> Answer:
    """Green while the supervisor's loop turns: also while it waits, boots its broker, or is held."""
    age = scene.tick_age_seconds
    if age > LIVE_SECONDS:
        return Answer(503, TEXT, f"the loop has not turned for {age:.1f} s\n")
    if scene.published is None:
        return Answer(200, TEXT, f"{_starting_words(scene)}\n")
    lines = [f"the loop turned {age:.1f} s ago"]
    for name, decision in (("member", scene.published.decision), ("monitor", scene.published.monitor)):
        if decision is not None:
            lines.append(f"{name} rule {decision.rule} {shown(decision.state or '-')}: {shown(decision.reason)}")
    return Answer(200, TEXT, "\n".join(lines) + "\n")


def readyz(scene: Scene) -> Answer:
    """200 when clients may come: broker up, membership proven, and registered unless Redis is lost."""
    trouble = _not_ready(scene)
    return Answer(503, TEXT, f"not ready: {trouble}\n") if trouble else Answer(200, TEXT, "ready\n")


def _not_ready(scene: Scene) -> str:
    published = scene.published
    if published is None or scene.tick_age_seconds > LIVE_SECONDS:
        return "the loop does not turn" if published else _starting_words(scene)
    seen, decision = published.observation, published.decision
    if decision.held is not None:
        return f"held: {shown(decision.held)}"
    if seen.broker.phase is not BrokerPhase.READY:
        return f"the broker is {seen.broker.phase}: {shown(decision.reason)}"
    if published.mutual is not True:
        return f"membership is {'unknown' if published.mutual is None else 'not mutual'}: {shown(decision.reason)}"
    if seen.store is not None and not published.registered:
        return "not registered yet"
    return ""


def _starting_words(scene: Scene) -> str:
    return f"starting: {shown(scene.waits_for)}" if scene.waits_for else "starting"


def status_json(scene: Scene) -> Answer:
    status = scene.status
    if status is None:
        return _starting()
    return Answer(200, JSON, json.dumps(status.as_json()) + "\n")


def metrics(scene: Scene) -> Answer:
    return Answer(200, PROMETHEUS, metrics_text(scene.status, scene.published, scene.tick_age_seconds))


def page(scene: Scene) -> Answer:
    status = scene.status
    if status is None:
        return _starting()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Answer(200, HTML, page_html(status, scene.settings.node), (("Content-Security-Policy", policy),))


def _starting() -> Answer:
    return Answer(503, TEXT, "starting: nothing has been observed yet\n", (("Retry-After", "1"),))


ROUTES: dict[str, dict[str, Handler]] = {
    "/livez": {"GET": livez},
    "/readyz": {"GET": readyz},
    "/status": {"GET": status_json},
    "/metrics": {"GET": metrics},
    "/": {"GET": page},
}
