"""What the image and the stack's files promise, as far as reading them tells."""

import re
from pathlib import Path

TOP = Path(__file__).parent.parent


def _pinned(name: str) -> dict[str, set[str]]:
    """Each requirement of a lock with its hashes."""
    blocks = re.findall(r"^([a-z0-9-]+==\S+)((?: \\\n +--hash=\S+)+)", (TOP / "requirements" / name).read_text(), re.M)
    return {requirement: set(re.findall(r"--hash=(\S+)", hashes)) for requirement, hashes in blocks}


def test_the_image_gets_what_the_runtime_is_tested_with() -> None:
    """The image's lock is the runtime's without the Docker client and what that one needs."""
    image, runtime = _pinned("image.txt"), _pinned("runtime.txt")
    left_out = {name.split("==")[0] for name in runtime.keys() - image.keys()}

    assert image.items() <= runtime.items()
    assert left_out <= {"docker", "requests", "urllib3", "certifi", "charset-normalizer", "idna", "ruamel-yaml"}


def test_the_image_starts_the_supervisor_without_a_shell_and_without_root() -> None:
    """PID 1 is the supervisor, its user is the broker's, and liveness is asked every 5 s."""
    last = (TOP / "Dockerfile").read_text().rsplit("\nFROM ", 1)[1]

    assert re.findall(r"^USER (\w+)$", last, re.M)[-1] == "rabbitmq"
    assert 'ENTRYPOINT ["rmqcluster", "entrypoint"]' in last
    assert re.search(r'^HEALTHCHECK --interval=5s .*CMD \["rmqcluster", "healthcheck"\]$', last, re.M)


def test_each_secret_is_named_after_its_variable() -> None:
    """Secrets come from outside under a name with a hash; none is in an environment, a command or a file of ours."""
    text = (TOP / "compose.yml").read_text()
    declared = re.findall(r"^  (\w+): \{external: true, name: \"(.*)\"\}$", text, re.M)

    assert len(declared) == 8
    for key, name in declared:
        assert name == f"${{STACK:-fog}}_{key}_${{HASH_{key.upper()}:?make sets it}}"
    assert set(re.findall(r"_FILE: /run/secrets/(\w+)", text)) == {key for key, _ in declared}
    assert not re.findall(r"(?:PASS|PASSWORD|COOKIE|TOKEN): ", text)


def test_each_config_is_named_after_its_content() -> None:
    """A changed file is a new config, so that the deployment is an update and no error."""
    text = (TOP / "compose.yml").read_text()
    declared = re.findall(r"^  (\w+):\n    name: (.*)\n    file: (\S+)$", text, re.M)

    assert len(declared) == 6
    for key, name, file in declared:
        assert name == f"${{STACK:-fog}}_{key}_${{HASH_{key.upper()}:?make sets it}}"
        assert (TOP / file).is_file()


def test_only_the_consoles_are_published() -> None:
    """AMQP, Redis and PostgreSQL are on the hosts only for who asks for it."""
    published = re.compile(r"target: (\d+), published: \"\$\{\w+:-(\d+)\}\", protocol: tcp, mode: host")

    assert published.findall((TOP / "compose.yml").read_text()) == [("15672", p) for p in ("15672", "15673", "15674")]
    asked_for = published.findall((TOP / "compose.publish.yml").read_text())
    assert asked_for == [("5672", "5672"), ("5672", "5673"), ("5672", "5674"), ("6379", "6379"), ("5432", "5432")]
