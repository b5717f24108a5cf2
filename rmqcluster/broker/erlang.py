"""Values inside Erlang expressions: nothing that a queue or a node is called can become code."""

import base64
import json


def quoted(text: str) -> str:
    """An Erlang string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def as_json(value: object) -> str:
    """An Erlang expression whose value is `value`, JSON objects as maps and texts as binaries."""
    return f'rabbit_json:decode(base64:decode(<<"{base64.b64encode(json.dumps(value).encode()).decode()}">>))'
