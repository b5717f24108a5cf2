"""`docs/failure-cases.md` quotes screens that the code really makes, and names commands that really exist."""

import re

import pytest
from failure_cases import CASES, DOCUMENT, quoted, screen

from rmqcluster.cli.main import cli

TEXT = DOCUMENT.read_text()
SECTIONS = TEXT.split("\n## ")[1:]


def test_every_screen_is_quoted_once() -> None:
    """No situation that the code knows to show is left out of the document, and none is told twice."""
    assert sorted(case for case, _ in quoted(TEXT)) == sorted(CASES)


@pytest.mark.parametrize(("case", "text"), quoted(TEXT), ids=[case for case, _ in quoted(TEXT)])
def test_quoted_screen_is_what_the_code_shows(case: str, text: str) -> None:
    """A screen in the document is word for word what `status` prints; failure_cases.py as a program renews them."""
    assert text == screen(case)


@pytest.mark.parametrize("case", CASES)
def test_screen_can_be_taken_in_at_a_glance(case: str) -> None:
    """Under ten lines, with what happens by itself and what to do, and every time in UTC."""
    lines = screen(case).splitlines()

    assert len(lines) < 10
    assert [line[:5] for line in lines if line.startswith(("NEXT ", "DO   "))] == ["NEXT ", "DO   "]
    assert all(line.isprintable() for line in lines)
    assert not re.search(r"\b\d\d:\d\d:\d\d(?!Z)", screen(case))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.splitlines()[0])
def test_every_case_says_what_to_type_and_what_not(section: str) -> None:
    """What happens by itself, what to type, what not to type, in this order."""
    places = [section.find(words) for words in ("**By itself:**", "**Type:**", "**Do not type:**")]

    assert -1 not in places
    assert places == sorted(places)


def test_named_commands_exist() -> None:
    """Every command in the document and on its screens is one that can be typed."""
    known = set(cli.commands)
    named = set(re.findall(r"\brmqcluster ([a-z]+)\b", TEXT))

    assert named <= known
    assert {"forget", "replace", "rejoin", "recover", "drain", "revive", "pause", "resume"} <= named
