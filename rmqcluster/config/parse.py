"""The shapes a setting's text may have.

Each parser takes the text and returns the value, or raises `ValueError` whose message says what is allowed
("a whole number from 1 to 99"); it never repeats the text, which may be a secret.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
Parser = Callable[[str], T]

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})"
HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
# RabbitMQ takes more, but a node name also becomes a Redis key, a file name and an argument of rabbitmqctl.
NODE_NAME = re.compile(rf"[a-z0-9_][a-z0-9_-]*@{HOST.pattern}", re.ASCII)
REDIS_SCHEMES = ("redis", "rediss", "redis+sentinel")


def whole_number(low: int, high: int) -> Parser[int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def seconds(low: float, high: float) -> Parser[float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not low <= float(text) <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g}, like 5 or 0.5")
        return float(text)

    return parse


def choice(*words: str) -> Parser[str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return parse


def pattern(expression: str, allowed: str) -> Parser[str]:
    compiled = re.compile(expression, re.ASCII)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(allowed)
        return text

    return parse


port = whole_number(1, 65535)


def password(text: str) -> str:
    """Anything goes into a password but NUL, which no protocol here can carry."""
    if "\0" in text:
        raise ValueError("text without a NUL character")
    return text


def host(text: str) -> str:
    if not HOST.fullmatch(text) and not _is_ip_address(text):
        raise ValueError("a host name or an IP address")
    return text


def ip_address(text: str) -> str:
    if not _is_ip_address(text):
        raise ValueError("an IP address of this machine, or 0.0.0.0 for all of them")
    return text


def node_name(text: str) -> str:
    """A node name, or only its first part: the host is then added by the loader."""
    full = text if "@" in text else f"{text}@host"
    if len(full) > 200 or not NODE_NAME.fullmatch(full):
        raise ValueError("name@host, the name of a-z 0-9 _ -, the host as peers resolve it, no leading dash")
    return text


def absolute_path(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise ValueError("an absolute path")
    return Path(text)


def directory_path(text: str) -> Path:
    """RabbitMQ also takes a pattern like /etc/conf.d/*.conf; we write a file there, so it must be a directory."""
    if "*" in text or not text.startswith("/") or "\0" in text:
        raise ValueError("the absolute path of a directory, without *")
    return Path(text)


def redis_url(text: str) -> str:
    allowed = "redis://, rediss:// or redis+sentinel:// with a host and ports from 1 to 65535"
    if any(ord(character) <= 32 for character in text):
        raise ValueError(allowed + ", without spaces")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(allowed) from None
    places = parts.netloc.rsplit("@", 1)[-1].split(",")
    if parts.scheme not in REDIS_SCHEMES or not all(_is_place(place) for place in places):
        raise ValueError(allowed)
    return text


def _is_place(text: str) -> bool:
    """`host`, `host:port`, `[v6]` or `[v6]:port`; a Sentinel URL lists several."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", text)
    if match is None or (match[2] is not None and not 1 <= int(match[2]) <= 65535):
        return False
    name = match[1]
    return _is_ip_address(name[1:-1]) if name.startswith("[") else bool(HOST.fullmatch(name))


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
