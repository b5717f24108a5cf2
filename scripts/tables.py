"""Writes the generated parts of the documents: keys, settings and rules. `make docs` runs it, a test checks it."""

import re
from pathlib import Path

from rmqcluster.config.table import SETTINGS
from rmqcluster.core.engine import Rule
from rmqcluster.core.member_rules import MEMBER_RULES
from rmqcluster.core.monitor_rules import MONITOR_RULES
from rmqcluster.store.keys import CHANNELS, COMMANDS, KEYS

TOP = Path(__file__).parent.parent


def settings() -> str:
    lines = ["| name | default | meaning |", "|---|---|---|"]
    for one in SETTINGS:
        name = f"`{one.name}`" + (" or `…_FILE`" if one.secret else "")
        default = f"`{one.default}`" if one.default is not None else "-"
        lines.append(f"| {name} | {default} | {one.meaning} |")
    return "\n".join(lines)


def keys() -> str:
    lines = ["| key | type | lives | written by | meaning |", "|---|---|---|---|---|"]
    lines += [f"| `{k.name}` | {k.type} | {k.ttl} | {k.writer} | {k.meaning} |" for k in KEYS]
    return "\n".join(lines)


def acl() -> str:
    granted = " ".join(f"+{command}" for command in COMMANDS)
    channels = " ".join(f"&{channel}" for channel in CHANNELS)
    return f"```\nuser rmqcluster on >… resetchannels {channels} ~rabbitmq:* -@all {granted}\nuser default off\n```"


def rules(table: tuple[Rule, ...]) -> str:
    lines = ["| rule | when | does | because |", "|---|---|---|---|"]
    for rule in table:
        when = ", ".join(c.__name__.replace("_", " ") for c in rule.when) or "always"
        lines.append(f"| {rule.number} | {when} | {rule.then.__name__.replace('_', ' ')} | {rule.why} |")
    return "\n".join(lines)


BLOCKS = {
    "README.md": {"keys": keys, "acl": acl, "settings": settings},
    "docs/rules.md": {"member": lambda: rules(MEMBER_RULES), "monitor": lambda: rules(MONITOR_RULES)},
}


def filled(name: str) -> str:
    """The document with its generated blocks as they should be."""
    text = (TOP / name).read_text()
    for block, make in BLOCKS[name].items():
        pattern = re.compile(rf"(<!-- {block} -->\n).*?(<!-- /{block} -->)", re.DOTALL)
        text, count = pattern.subn(lambda m, made=make: f"{m[1]}{made()}\n{m[2]}", text)
        assert count == 1, f"{name} has no place for {block}"
    return text


if __name__ == "__main__":
    for document in BLOCKS:
        (TOP / document).write_text(filled(document))
