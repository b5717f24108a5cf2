"""Why a broker ended or does not get on, in one sentence, from the last lines it wrote. Pure.

The patterns come from recorded output of 3.10.8 and 4.3.6 (in the tests) and the sources of 4.x; what no
pattern knows is passed on in the broker's own words.
"""

import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence

_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*\S* \[(\w+)\] <[\d.]+> ?")
_TELLING = re.compile(
    r"BOOT FAILED|Error during startup|^ERROR: | ERROR: |eaddrinuse|enospc|eacces|erofs"
    r"|unknown variable|Syntax error in|Error transforming datatype|Error preparing configuration"
    r"|Error (parsing|validating)|accessible by owner only|no_reg_reply_from_epmd|register/listen error"
    r"|inconsistent_cluster|timeout_waiting_for|Cookie file|Failed to (create|write)|eheap_alloc|cannot allocate"
)
_MEMBERSHIP = re.compile(r"> (?:rabbit on )?node '?[\w.-]+@[\w.-]+'? (?:up|down)\b")
_REASON_CHARACTERS_MAX = 400

Rule = tuple[re.Pattern[str], bool, Callable[[re.Match[str]], str]]


def is_telling(line: str) -> bool:
    """Is this a line worth keeping, however much is printed after it?"""
    return _TELLING.search(line) is not None


def explain(
    lines: Iterable[str], status: int | None, ports: Mapping[int, str] | None = None, *, was_ready: bool = False
) -> tuple[str, bool]:
    """(one sentence, will it fail the same way until a person changes a file?).

    `status` is an exit code or minus a signal; `ports` names this member's ports for the reader. A boot that
    was ready had a good configuration, and what it wrote since then may be a client's words: no file has to
    change for its end. Nor for the end of a process that somebody else ended.
    """
    messages = [_message(line) for line in lines]
    if _signal(status) in (signal.SIGKILL, signal.SIGTERM):
        return _by_status(status, messages), False
    text = "\n".join(messages)
    for pattern, configuration, say in _RULES:
        match = pattern.search(text)
        if match:
            return _bounded(_with_port_name(say(match), ports or {})), configuration and not was_ready
    said = _startup_error(messages)
    if said:
        return _bounded(f"the broker did not start: {said}"), False
    return _bounded(_by_status(status, messages)), False


def tells_of_membership(line: str) -> bool:
    """Does it say that another node, or the broker on it, came or went?"""
    return _MEMBERSHIP.search(line) is not None


def progress(lines: Sequence[str]) -> str:
    """What a broker that is still starting waits for, from its newest lines; "" when it says nothing of it."""
    for line in reversed(lines[-60:]):
        message = _message(line)
        for pattern, say in _WAITS:
            match = pattern.search(message)
            if match:
                return say(match)
    return ""


def _message(line: str) -> str:
    return _LOG_PREFIX.sub("", line).rstrip()


def _bounded(sentence: str) -> str:
    flat = " ".join(sentence.split())
    return flat if len(flat) <= _REASON_CHARACTERS_MAX else flat[: _REASON_CHARACTERS_MAX - 1] + "…"


def _with_port_name(sentence: str, ports: Mapping[int, str]) -> str:
    def name(match: re.Match[str]) -> str:
        label = ports.get(int(match.group(1)))
        return f"{label} port {match.group(1)}" if label else match.group(0)

    return re.sub(r"(?<!distribution )\bport (\d+)", name, sentence, count=1)


def _startup_error(messages: Sequence[str]) -> str:
    """The words after "BOOT FAILED", joined up to the empty line that ends them."""
    for start, message in enumerate(messages):
        if message.startswith(("Error during startup:", "ERROR: ")):
            block: list[str] = []
            for following in messages[start : start + 12]:
                if not following.strip() or following.startswith("BOOT FAILED"):
                    break
                block.append(following.strip())
            return " ".join(block).removeprefix("Error during startup: ").removeprefix("ERROR: ")
    return ""


def _signal(status: int | None) -> int:
    """The signal that ended it, also as a shell tells it (128 and more); 0 when it exited by itself."""
    if status is None:
        return 0
    number = -status if status < 0 else status - 128
    return number if 0 < number < signal.NSIG else 0


def _by_status(status: int | None, messages: Sequence[str]) -> str:
    if status is None:
        return "the broker ended; its exit status is unknown"
    number = _signal(status)
    if number == signal.SIGKILL:
        return "the broker was killed (SIGKILL): by a person, or by the kernel because memory ran out"
    if number:
        return f"the broker was ended by {signal.Signals(number).name}"
    last = next((message for message in reversed(messages) if message.strip()), "")
    return f"the broker exited with status {status}" + (f": {last.strip()}" if last else " without a word")


def _config(words: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"broker configuration: {match.expand(words)}"


def _say(words: str) -> Callable[[re.Match[str]], str]:
    return lambda match: match.expand(words)


# First match wins: the most specific stands first.
_RULES: tuple[Rule, ...] = (
    (re.compile(r"attempted to set unknown variable: (\S+)"), True, _config(r"there is no setting named \1")),
    (re.compile(r"Syntax error in (\S+) after (line \d+)"), True, _config(r"syntax error in \1 after \2")),
    (
        re.compile(r"Error transforming datatype for: (\S+)\n\s*-?\s*(.+)"),
        True,
        _config(r"\1: \2"),
    ),
    (re.compile(r"Error (?:preparing|parsing|validating) configuration[^\n]*\n\s*-?\s*(.+)"), True, _config(r"\1")),
    (re.compile(r"failed_to_deny_deprecated_features[^\n]*"), True, _config(r"\g<0>")),
    (
        re.compile(r"(Cookie file \S+ must be accessible by owner only)"),
        True,
        _say(r"\1: set its mode to 0400"),
    ),
    (
        re.compile(r"could not bind to distribution port (\d+)(?:[^\n]*in use by another node: (\S+))?"),
        False,
        lambda match: f"the distribution port {match[1]} is in use" + (f" by the node {match[2]}" if match[2] else ""),
    ),
    (
        re.compile(r'node with name "([^"]+)" is already running on host "([^"]+)"'),
        False,
        _say(r"a node named \1@\2 is already running on this host"),
    ),
    (
        re.compile(r"\{acceptor,\{[\d,]+\},\s*(\d+)\},\s*eaddrinuse"),
        False,
        _say(r"port \1 is in use by another process"),
    ),
    (re.compile(r"eaddrinuse"), False, _say("a port that the broker needs is in use by another process")),
    (
        re.compile(r"no_reg_reply_from_epmd|register/listen error: (\S+)"),
        False,
        _say("epmd does not register this node: is something else on its port (ERL_EPMD_PORT)?"),
    ),
    (
        re.compile(r'inconsistent_cluster,\s*"([^"]+)"'),
        False,
        _say(r"its peers do not list this node any more: \1"),
    ),
    (
        re.compile(r"timeout_waiting_for_leader"),
        False,
        _say("no majority of the cluster's members answered in time, or they do not list this node any more"),
    ),
    (
        re.compile(r"timeout_waiting_for_tables[^\n]*"),
        False,
        _say("the members that ran last did not come up in time, and this node may not serve without them"),
    ),
    (re.compile(r'(?:"([^"]+)",\s*)?enospc'), False, lambda match: f"no space left on the volume{_at(match[1])}"),
    (re.compile(r'(?:"([^"]+)",\s*|\{error,\s*)erofs'), True, lambda match: f"the volume is read-only{_at(match[1])}"),
    (re.compile(r'(?:"([^"]+)",\s*|\{error,\s*)eacces'), True, lambda match: f"permission denied{_at(match[1])}"),
    (
        re.compile(r"eheap_alloc: Cannot allocate|[Cc]annot allocate \d+ bytes"),
        False,
        _say("the broker ran out of memory: \\g<0>"),
    ),
)

_WAITS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"Could not auto-cluster with node (\S+): (.+)"),
        _say(r"cannot join through \1 yet (\2): it is down, unreachable, or has another cookie"),
    ),
    (
        re.compile(r"[Pp]eer discovery.*(?:query|contact|reach).*?(?:node )?'?([\w.-]+@[\w.-]+)'?"),
        _say(r"cannot join through \1 yet: it is down, unreachable, or has another cookie"),
    ),
    (
        re.compile(r"Waiting for Mnesia tables for (\d+) ms, (\d+) retries left"),
        _say(r"waits for the members that ran last (\2 more tries of \1 ms)"),
    ),
    (
        re.compile(r"[Ww]aiting for Khepri leader for (\d+) ms, (\d+) retries left"),
        _say(r"waits for a majority of the cluster's members (\2 more tries of \1 ms)"),
    ),
)


def _at(path: str | None) -> str:
    return f": {path}" if path else ""
