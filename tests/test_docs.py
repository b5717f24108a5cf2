"""The documents say what the code does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from rmqcluster.errors import ExitCode

TOP = Path(__file__).parent.parent


def _tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", TOP / "scripts" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("document", ["README.md", "docs/rules.md"])
def test_generated_tables_are_fresh(document: str) -> None:
    """Keys, settings and rules in the documents are those of the code; `make docs` rewrites them."""
    assert _tables().filled(document) == (TOP / document).read_text()


def test_readme_names_every_exit_code() -> None:
    """A script can rely on each documented exit code, and none is left out."""
    text = (TOP / "README.md").read_text()
    line = text[text.index("Exit codes:") :].split("\n\n")[0]

    assert {int(n) for n in re.findall(r"\b(\d+) [A-Za-z]", line)} == {int(code) for code in ExitCode}


def test_readme_names_every_target() -> None:
    """Every make target that the README names exists, and the two commands stand at its top."""
    text = (TOP / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", (TOP / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", text)) <= targets
    assert text.index("make demo") < text.index("make test") < 400
