"""The shape of the code: who may import whom, and which calls are banned in favour of what."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rmqcluster"
MODULES = sorted(PACKAGE.rglob("*.py"))

# A room may import the rooms on its right, and itself.
MAY_IMPORT = {
    "errors": set(),
    "core": {"errors"},
    "config": {"core", "errors"},
    "process": {"errors"},
    "store": {"config", "core", "errors", "agent.ports"},
    "broker": {"config", "core", "errors", "agent.ports"},
    "agent": {"config", "core", "errors", "store", "broker", "process", "api"},
    "api": {"config", "core", "errors", "agent.published"},
    "cli": {"config", "core", "errors", "store", "broker", "process", "agent", "api", "demo", "swarm"},
    "swarm": {"config", "errors"},
    "demo": {"config", "core", "errors", "store", "broker", "process", "agent", "cli"},
}
CLIENT_ROOMS = {
    "redis": {"store"},
    "pika": {"broker", "demo"},
    "click": {"cli"},
    "docker": {"swarm"},
    "ruamel": {"swarm"},
    "dotenv": {"config"},
    "tenacity": {"store", "broker", "demo"},
    "rich": {"cli"},
}
PURE_MODULES_ALLOWED = {
    "collections",
    "dataclasses",
    "enum",
    "itertools",
    "typing",
    "re",
    "datetime",
    "math",
    "json",
    "uuid",
}
SUPERVISOR_MUST_NOT_LOAD = {"pika", "click", "rich", "docker", "requests"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module with its line; those for the type checker alone do not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    """A room imports only itself and the rooms below it."""
    mine = room(path)
    if mine in ("__init__", "__main__"):
        return
    for module, line in imports(path):
        if not module.startswith("rmqcluster."):
            continue
        parts = module.split(".")[1:]
        allowed = MAY_IMPORT[mine] | {mine}

        assert parts[0] in allowed or ".".join(parts[:2]) in allowed, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_one_client_per_room(path: Path) -> None:
    """A third-party client is imported in its own room and nowhere else."""
    for module, line in imports(path):
        rooms = CLIENT_ROOMS.get(module.split(".")[0])

        assert rooms is None or room(path) in rooms, f"{path}:{line} imports {module}"


def test_core_is_pure() -> None:
    """The core imports nothing that could read a clock, a file, a network or chance."""
    for path in (PACKAGE / "core").glob("*.py"):
        for module, line in imports(path):
            top = module.split(".")[0]

            assert top in PURE_MODULES_ALLOWED | {"rmqcluster"}, f"{path}:{line} imports {module}"


BANNED = {
    "time.time": "a monotonic clock; wall clocks are for people",
    "os.system": "an argument list",
    "eval": "a parser",
    "exec": "a function",
    "pickle.loads": "JSON with a format version",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_banned_calls(path: Path) -> None:
    """No wall clock for rights, no shell, no code from data, no bare or silent except."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)

            assert name not in BANNED, f"{path}:{node.lineno} calls {name}: use {BANNED[name]}"
            assert not any(k.arg == "shell" for k in node.keywords), f"{path}:{node.lineno}: no shell"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else ""

            assert caught not in ("", "BaseException"), f"{path}:{node.lineno}: name what is expected"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_sizes_stay_readable(path: Path) -> None:
    """No module above 400 lines, no function above 70."""
    assert len(path.read_text().splitlines()) <= 400, path
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 70, f"{path}:{node.lineno} {node.name}"
