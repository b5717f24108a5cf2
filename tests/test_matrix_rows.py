"""Every row of the failure matrix that has to be proven is proven by a test that is named by it."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
REQUIRED = """
A1 A2 A5 A9 A11 A12 B1 B2 B3 B4 B5 B7 B10 B11 B14 B17 C1 C2 C3 C7 C11 D1 D2 D3 D4 D6 D7
E1 E2 E3 E4 E5 E6 E8 E9 F1 F2 F4 F6 F7 F10 G1 H2 H3 H4 H6 H8
""".lower().split()
NAMED = re.compile(r"^def test_((?:[a-h]\d+_)+)", re.MULTILINE)


def test_every_required_row_has_a_test() -> None:
    """A row without a test of its name (`test_b2_…`) is a promise that nobody checks.

    H1, no message lost, is what `under_load` in matrix/scene.py asserts around the rows B to F.
    """
    texts = [path.read_text() for path in TESTS.rglob("test_*.py")]
    proven = {row for text in texts for found in NAMED.findall(text) for row in found.rstrip("_").split("_")}
    assert sorted(set(REQUIRED) - proven) == []
