"""Looking at the demo's members over their own ports, and waiting for them with a deadline.

A member counts as back when it says of itself that it is running, mutual and registered with a heartbeat, and
when its broker lets the administrator in, which is so once accounts and topology are provisioned.
"""

import base64
import http.client
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmqcluster.broker.management import PARAMETER
from rmqcluster.demo import layout
from rmqcluster.demo.errors import DemoFailed
from rmqcluster.demo.state import ADMIN_USER, HOST, DemoState, NodeState

ANSWER_SECONDS = 2.0
MOST_BYTES = 4 * 1024 * 1024
POLL_SECONDS = 0.15
LOGIN_POLL_SECONDS = 0.5
LOG_LINES = 15
CHATTER = (" [info] ", " [notice] ", " [debug] ")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What one supervisor's /status says; `row` is its line on itself."""

    whole: Mapping[str, Any]
    row: Mapping[str, Any]

    @property
    def proven(self) -> bool:
        beats = self.row.get("heartbeat_age_seconds") is not None
        return all(self.row.get(name) is True for name in ("running", "mutual", "registered")) and beats

    @property
    def words(self) -> str:
        held = self.row.get("held")
        if held:
            return f"HELD: {held}"
        facts = [name for name in ("running", "mutual", "registered") if self.row.get(name) is True]
        role = "master" if self.row.get("role") == "master" else ""
        return ", ".join(word for word in (str(self.row.get("state") or "starting"), *facts, role) if word)


def read_report(node: NodeState) -> Report | None:
    """None while the supervisor does not answer usefully."""
    answer = _get(node.http_port, "/status", {})
    if answer is None or not isinstance(answer[1], dict):
        return None
    whole = answer[1]
    rows = [row for row in whole.get("members", []) if row.get("node") == node.name]
    return Report(whole, rows[0] if rows else {})


def lets_admin_in(state: DemoState, node: NodeState) -> bool:
    """The administrator may log in and finds the provisioning stamp, which is written after everything else."""
    password = state.secret_file("admin").read_text().strip()
    token = base64.b64encode(f"{ADMIN_USER}:{password}".encode()).decode()
    answer = _get(node.management_port, "/api/global-parameters", {"Authorization": f"Basic {token}"})
    rows = answer[1] if answer is not None and answer[0] == 200 else []
    return isinstance(rows, list) and any(isinstance(row, dict) and row.get("name") == PARAMETER for row in rows)


def await_members(
    state: DemoState, numbers: Collection[int], say: Say, seconds: float, *, provisioned: bool = True
) -> None:
    """Wait until these members are back and agree on the cluster's id, telling every change.

    Not `provisioned`: members are enough, their accounts may come later.

    Raises DemoFailed, with the last lines of the sick member's log, when a supervisor ends or time runs out.
    """
    began = time.monotonic()
    told: dict[int, str] = {}
    doors = _Doors(state)
    while True:
        reports = {number: read_report(state.node(number)) for number in numbers}
        missing = [number for number in numbers if not _is_proven(reports[number])]
        for number in numbers:
            words = _words(reports[number])
            if told.get(number) != words:
                told[number] = words
                say(f"{time.monotonic() - began:6.1f} s  {state.node(number).name}  {words}")
        ids = {report.whole.get("cluster_id") for report in reports.values() if report}
        shut: dict[int, str] = {}
        if not missing and provisioned:
            missing = doors.closed(numbers)
            shut = dict.fromkeys(missing, "a member, but the administrator is not let in yet")
        if not missing and len(ids) == 1 and None not in ids:
            return
        for number in missing:
            if not state.node(number).is_up:
                raise DemoFailed(_obituary(state, number, "its supervisor ended"))
        if time.monotonic() - began > seconds:
            sick = missing[0] if missing else min(numbers)
            why = shut.get(sick, told[sick]) if missing else f"the members name different clusters: {ids}"
            raise DemoFailed(_obituary(state, sick, f"not back after {seconds:.0f} s: {why}"))
        time.sleep(POLL_SECONDS)


def await_loss(state: DemoState, number: int, seconds: float) -> bool:
    """Wait until a surviving member reports `number` lost and names another as master; False when none does."""
    lost = state.node(number).name
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        survivors = [node for node in state.nodes if node.is_up]
        if not survivors:
            return False
        for node in survivors:
            report = read_report(node)
            if report is None:
                continue
            rows = [row for row in report.whole.get("members", []) if row.get("node") == lost]
            gone = not rows or (rows[0].get("registered") is False and rows[0].get("running") is not True)
            if gone and report.whole.get("master") not in (lost, None):
                return True
        time.sleep(POLL_SECONDS)
    return False


class _Doors:
    """Which brokers do not let the administrator in yet; asked rarely, since each refusal is a line in their logs."""

    def __init__(self, state: DemoState) -> None:
        self._state = state
        self._open: set[int] = set()
        self._asked_at = -LOGIN_POLL_SECONDS

    def closed(self, numbers: Collection[int]) -> list[int]:
        if time.monotonic() - self._asked_at >= LOGIN_POLL_SECONDS:
            self._asked_at = time.monotonic()
            asked = [number for number in numbers if number not in self._open]
            self._open |= {number for number in asked if lets_admin_in(self._state, self._state.node(number))}
        return [number for number in numbers if number not in self._open]


def _is_proven(report: Report | None) -> bool:
    return report is not None and report.proven


def _words(report: Report | None) -> str:
    return "starting" if report is None else report.words


def _obituary(state: DemoState, number: int, what: str) -> str:
    log = state.log_file(number)
    lines = "\n".join(f"  | {line}" for line in telling_lines(log, LOG_LINES)) or "  | (nothing)"
    return f"{state.node(number).name}: {what}. The last lines of {log}:\n{lines}"


def telling_lines(log: Path, count: int) -> list[str]:
    """The last lines of a member's log without the broker's chatter."""
    lines = [line for line in layout.tail(log, 2000) if not any(level in line for level in CHATTER)]
    return lines[-count:]


def _get(port: int, path: str, headers: Mapping[str, str]) -> tuple[int, Any] | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, json.loads(response.read(MOST_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
