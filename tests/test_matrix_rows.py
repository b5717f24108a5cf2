"""Every row of the failure matrix that has to be proven is proven on real brokers, by a test that is named by it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
REAL = ("integration", "matrix")  # `make test`, `make test-matrix`; what fakes and the simulation show proves no row
REQUIRED = """
A1 A2 A5 A9 A11 A12 B1 B2 B3 B4 B5 B7 B10 B11 B14 B17 C1 C2 C3 C7 C11 D1 D2 D3 D4 D6 D7
E1 E2 E3 E4 E5 E6 E8 E9 F1 F2 F4 F6 F7 F10 G1 H1 H2 H3 H4 H6 H8
""".lower().split()
ROWS = re.compile(r"test_((?:[a-hx]\d+_)+)")
NEED_A_CLUSTER = re.compile(r"test_(?:b[1-9]_|b1[47]_|[cdefgh]\d)")  # steps of a first start have no messages yet
LOAD = "under_load"


def test_every_required_row_has_a_test() -> None:
    """A row without a test of its name (`test_b2_…`) is a promise that nobody checks."""
    proven = {row for room in REAL for test in _tests(room) for row in _rows(test)}
    assert sorted(set(REQUIRED) - proven) == []


def test_every_test_of_the_matrix_names_its_row() -> None:
    """`make test-matrix ROW=d3` runs all that there is about a row."""
    assert [test.name for test in _tests("matrix") if not _rows(test)] == []


def test_h1_every_fault_strikes_under_load() -> None:
    """H1: each test of a running cluster in the matrix counts every message, in its own or its module's fixture."""
    bare = []
    for path in sorted((TESTS / "matrix").glob("test_*.py")):
        functions = list(_functions(path))
        loads = {one.name: _is_autouse(one) for one in functions if _counts(one)}
        for one in functions:
            asked = any(argument.arg in loads for argument in one.args.args)
            if NEED_A_CLUSTER.match(one.name) and not (_counts(one) or asked or any(loads.values())):
                bare.append(one.name)
    assert bare == []


def _tests(room: str) -> Iterator[ast.FunctionDef]:
    """What pytest collects there, less what it is told to skip."""
    for path in sorted((TESTS / room).glob("test_*.py")):
        yield from (one for one in _functions(path) if one.name.startswith("test_") and not _is_skipped(one))


def _functions(path: Path) -> Iterator[ast.FunctionDef]:
    yield from (one for one in ast.parse(path.read_text()).body if isinstance(one, ast.FunctionDef))


def _rows(test: ast.FunctionDef) -> list[str]:
    found = ROWS.match(test.name)
    return found[1].rstrip("_").split("_") if found else []


def _is_skipped(test: ast.FunctionDef) -> bool:
    return any("skip" in ast.unparse(one) or "xfail" in ast.unparse(one) for one in test.decorator_list)


def _is_autouse(function: ast.FunctionDef) -> bool:
    return any("autouse=True" in ast.unparse(one) for one in function.decorator_list)


def _counts(function: ast.FunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == LOAD for one in ast.walk(function))
