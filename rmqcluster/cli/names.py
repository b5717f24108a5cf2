"""Which node is meant: a full node name, its host, its short name, or the number at its end."""

from collections.abc import Iterable

from rmqcluster.core.status import shown
from rmqcluster.errors import ExitCode, RmqclusterError


class NodeUnknown(RmqclusterError):
    """What was typed names no known node, or more than one."""

    exit_code = ExitCode.USAGE


def resolve(text: str, known: Iterable[str]) -> str:
    """The one known node that `text` means: `rabbit@rabbitmq2`, `rabbitmq2`, `2`. Raises NodeUnknown."""
    names = sorted(known)
    if text in names:
        return text
    found = [name for name in names if text in _calls(name)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(shown(name, 120) for name in found or names) or "none"
    what = "means more than one node" if found else "is no known node"
    raise NodeUnknown(f"{shown(text, 120)!r} {what}; {'these' if found else 'known'}: {listed}")


def _calls(node: str) -> set[str]:
    """What a node answers to; its first part alone may be shared by all, and then means nobody."""
    first, _, host = node.partition("@")
    label = host.partition(".")[0]
    short = first if label in ("", "localhost") else label
    number = short[len(short.rstrip("0123456789")) :]
    return {host, label, first, short, number} - {""}
