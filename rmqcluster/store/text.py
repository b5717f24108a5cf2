"""Text that came out of Redis: nothing of it reaches a terminal or a log unchecked."""

import re

NAME_LIMIT = 200  # characters of a node name
TEXT_LIMIT = 2000  # characters of any other text
NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*@[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


def printable(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text as one line without control characters (escaped as in Python), at most `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def is_node_name(text: object) -> bool:
    """Is this a node name that may become part of a key, a command's argument or a line of output?"""
    return isinstance(text, str) and len(text) <= NAME_LIMIT and NODE_NAME.fullmatch(text) is not None
