"""The stack's file as data: variables, text for `docker stack deploy`, and what differs from what runs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rmqcluster.errors import ConfigurationError
from rmqcluster.swarm import rendering

GIVEN = {"SET": "value", "EMPTY": ""}


def parsed(text: str, version: str = "1.2") -> Any:
    """The text as a YAML parser of that version reads it; `docker` follows 1.1."""
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    return reader.load(text)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET", "value"),
        ("${SET}", "value"),
        ("${SET:-other}", "value"),
        ("${SET-other}", "value"),
        ("${SET:?words}", "value"),
        ("${SET?words}", "value"),
        ("${EMPTY:-other}", "other"),
        ("${EMPTY-other}", ""),
        ("${EMPTY?words}", ""),
        ("${ABSENT:-}", ""),
        ("${ABSENT-other}", "other"),
        ("${ABSENT:-node.labels.a == true}", "node.labels.a == true"),
        ("$ABSENT", ""),
        ("${ABSENT}", ""),
        ("$$", "$"),
        ("$$SET", "$SET"),
        ("$${SET}", "${SET}"),
        ("a-$SET-${SET}$$", "a-value-value$"),
        ("{{.Node.ID}}", "{{.Node.ID}}"),
    ],
)
def test_variables_follow_docker_stack_deploy(text: str, expected: str) -> None:
    """Every form of a variable means what it means to `docker stack deploy`."""
    assert rendering.fill(text, GIVEN, "compose.yml") == expected


@pytest.mark.parametrize("text", ["${ABSENT:?make sets it}", "${ABSENT?make sets it}", "${EMPTY:?make sets it}"])
def test_a_required_variable_that_is_missing_is_told(text: str) -> None:
    """The file, the variable and the file's own words are in the error."""
    with pytest.raises(ConfigurationError) as trouble:
        rendering.fill(text, GIVEN, "compose.yml")

    found = str(trouble.value)
    assert found.startswith("compose.yml: ")
    assert found.endswith(" is not set: make sets it")


@pytest.mark.parametrize("text", ["${SET", "$1", "${SET:+x}", "cost: 5$", "${A:-${SET}}"])
def test_a_dollar_that_means_nothing_is_refused(text: str) -> None:
    """What `docker stack deploy` would refuse is refused, and never deployed as it stands."""
    with pytest.raises(ConfigurationError, match=r"compose\.yml: .*\$\$"):
        rendering.fill(text, GIVEN, "compose.yml")


def test_keys_are_never_filled_in(tmp_path: Path) -> None:
    """A variable in a key stays as it stands; in values at any depth it is filled in."""
    path = written(tmp_path / "c.yml", "services: {a: {$SET: [$SET, {b: $SET}]}}")

    assert rendering.load(path, GIVEN)["services"]["a"] == {"$SET": ["value", {"b": "value"}]}


def test_ports_and_limits_are_numbers(tmp_path: Path) -> None:
    """What `docker stack deploy` wants as a number is one, and no other text of digits becomes one."""
    text = (
        'services: {a: {ports: [{published: "$P"}], ulimits: {nofile: {soft: $P, hard: $P}}, environment: {N: "$P"}}}'
    )
    found = rendering.load(written(tmp_path / "c.yml", text), {"P": "15672"})["services"]["a"]

    assert found["ports"] == [{"published": 15672}]
    assert found["ulimits"]["nofile"] == {"soft": 15672, "hard": 15672}
    assert found["environment"] == {"N": "15672"}


def test_digits_of_other_alphabets_are_no_numbers(tmp_path: Path) -> None:
    """A value that only looks like a number is passed on as text, for Docker to refuse."""
    found = rendering.load(written(tmp_path / "c.yml", 'services: {a: {published: "²"}}'), {})

    assert found["services"]["a"]["published"] == "²"


@pytest.mark.parametrize(("text", "words"), [("a: [", "is no YAML"), ("a: 1", "names no services"), (None, "read")])
def test_a_file_that_is_no_stack_is_told(tmp_path: Path, text: str | None, words: str) -> None:
    """A file that is missing, broken or something else is an error with its path, never a traceback."""
    path = tmp_path / "c.yml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigurationError, match=words) as trouble:
        rendering.load(path, {})
    assert str(path) in str(trouble.value)


HARD = ("$SET", "$$", "yes", "no", "on", "off", "y", "~", "null", "1:30", "0777", "1_000", "1e3", "", " a ", "a: b # c")


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_text_comes_back_as_it_was(version: str) -> None:
    """Text stays text and numbers stay numbers in the eyes of any YAML parser, once `$$` is `$` again."""
    values = {**dict(zip("abcdefghijklmnop", HARD, strict=True)), "number": 5, "truth": True, "nothing": None}
    found = parsed(rendering.text({"services": {"one": {"environment": values, "list": list(HARD)}}}), version)
    back = found["services"]["one"]

    assert {k: v.replace("$$", "$") if isinstance(v, str) else v for k, v in back["environment"].items()} == values
    assert [v.replace("$$", "$") for v in back["list"]] == list(HARD)


def test_text_filled_in_again_is_the_same() -> None:
    """`docker stack deploy` fills in what it is given; nothing in it is a variable to it any more."""
    stack = {"services": {"one": {"environment": {"A": "$SET", "B": "${ABSENT:?x}", "C": "$$"}}}}
    again = rendering._fill(parsed(rendering.text(stack)), GIVEN, "deploy")

    assert again == stack


def test_long_values_stay_in_one_piece() -> None:
    """A label of many thousand characters survives."""
    label = json.dumps({"a": "b " * 20000})
    stack = {"services": {"one": {"deploy": {"labels": {"l": label}}}}}

    assert parsed(rendering.text(stack)) == stack


SERVICE = {"image": "a:1", "environment": {"A": "1"}, "ports": [{"target": 1}], "deploy": {"labels": {"x": "y"}}}


def described(one: dict[str, Any]) -> dict[str, Any]:
    return rendering.described({"services": {"one": one}}, "one")


def label_of(one: dict[str, Any]) -> str:
    marked = rendering.marked({"services": {"one": one}})
    return str(marked["services"]["one"]["deploy"]["labels"][rendering.RENDERED_LABEL])


def test_what_was_deployed_does_not_differ() -> None:
    """A service compared with its own mark differs in nothing, and marking leaves its own labels alone."""
    marked = rendering.marked({"services": {"one": SERVICE}})["services"]["one"]

    assert rendering.differences(described(SERVICE), label_of(SERVICE)) == ()
    assert marked["deploy"]["labels"]["x"] == "y"
    assert rendering.RENDERED_LABEL not in SERVICE["deploy"]["labels"]  # type: ignore[index]


def test_every_difference_is_one_line() -> None:
    """Changed, new and missing values are told with both sides, in order."""
    now = {**SERVICE, "image": "a:2", "environment": {"B": "2"}, "ports": [{"target": 2}]}

    assert rendering.differences(described(now), label_of(SERVICE)) == (
        "environment.A: 1 -> not set",
        "environment.B: not set -> 2",
        "image: a:1 -> a:2",
        'ports: [{"target":1}] -> [{"target":2}]',
    )


@pytest.mark.parametrize("label", [None, "", "{broken"])
def test_without_a_readable_mark_nobody_knows(label: str | None) -> None:
    """A service that was deployed by other means is known to differ in nothing, and in no thing."""
    assert rendering.differences(described(SERVICE), label) is None


@pytest.mark.parametrize("label", ["[]", "5", '"text"'])
def test_a_mark_of_another_kind_differs(label: str) -> None:
    """JSON that is no service differs, and breaks nothing."""
    assert rendering.differences(described(SERVICE), label)


def test_labels_as_a_list_are_kept() -> None:
    """Compose allows `name=value` lines; the mark is added to them."""
    marked = rendering.marked({"services": {"one": {"deploy": {"labels": ["a=b=c", "d"]}}}})

    labels = marked["services"]["one"]["deploy"]["labels"]
    assert (labels["a"], labels["d"]) == ("b=c", "")


def test_published_ports_come_on_top() -> None:
    """The second file adds its ports and takes nothing away; who is not in it stays."""
    stack = {"services": {"a": {"ports": [1], "image": "i"}, "b": {"image": "j"}, "c": {"ports": [5]}}, "volumes": {}}
    more = {"services": {"a": {"ports": [2]}, "b": {"ports": [3]}}}

    assert rendering.merged(stack, more) == {
        "services": {"a": {"ports": [1, 2], "image": "i"}, "b": {"image": "j", "ports": [3]}, "c": {"ports": [5]}},
        "volumes": {},
    }


def test_a_part_keeps_everything_but_services() -> None:
    """Names of networks, secrets and configs mean the same in a part as in the whole."""
    stack = {"services": {"a": {}, "b": {}}, "secrets": {"s": {}}, "configs": {}}

    assert rendering.part(stack, ["b"]) == {"services": {"b": {}}, "secrets": {"s": {}}, "configs": {}}


def test_files_are_found_from_anywhere(tmp_path: Path) -> None:
    """A stack file for use by hand names its files in full."""
    stack = {"services": {}, "configs": {"c": {"name": "n", "file": "./image/c.sh"}}}

    assert Path(rendering.absolute(stack, tmp_path)["configs"]["c"]["file"]) == tmp_path / "image" / "c.sh"


def test_nothing_is_an_alias() -> None:
    """What several services share is written out for each: a person who edits one edits one."""
    shared = {"a": ["b"]}
    out = io.StringIO(rendering.text({"services": {"one": shared, "two": shared}})).getvalue()

    assert "&" not in out
    assert "*" not in out
