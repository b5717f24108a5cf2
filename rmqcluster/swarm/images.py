"""Which images the stack runs, by a name that means the same on every host.

An image that a registry has is named by its digest there, so that every host pulls the very same. One that was built
or loaded here is named by its id: Swarm does not ask a registry for it, and each host must have loaded it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rmqcluster.swarm.facts import Image

# The stand-ins that scripts/images.sh makes where no official image can be pulled.
CANDIDATES = {
    "IMAGE": ("rmqcluster:latest",),
    "REDIS_IMAGE": ("redis:8-alpine", "rmqcluster/standin-redis:sid", "rmqcluster/standin-redis:trixie"),
    "POSTGRES_IMAGE": ("postgres:18-alpine", "rmqcluster/standin-postgres:sid", "rmqcluster/standin-postgres:trixie"),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """`reference` is what Swarm is given; `is_local`: no registry is known to have it."""

    variable: str
    name: str
    reference: str
    is_local: bool

    @property
    def is_standin(self) -> bool:
        return "/standin-" in self.name


def _digest(image: Image, name: str, registry: str) -> str | None:
    """Of the repository that was asked for, else of the registry that `make build` pushes to, else of any."""
    beginning = f"{registry.rstrip('/')}/"
    own = [one for one in image.digests if _repository(one) == _repository(name)]
    pushed = [one for one in image.digests if registry and one.startswith(beginning)]
    return next(iter([*own, *pushed, *image.digests]), None)


def _repository(name: str) -> str:
    """`host:5000/path/name` of a name with a tag, a digest, both, or neither."""
    bare = name.partition("@")[0]
    head, slash, last = bare.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}".removeprefix("docker.io/").removeprefix("library/")


def choose(variables: Mapping[str, str], look: Callable[[str], Image | None]) -> tuple[list[Chosen], list[str]]:
    """An image for each variable, and what is missing: `NAME (VARIABLE)`."""
    chosen, missing = [], []
    for variable, candidates in CANDIDATES.items():
        wanted = variables.get(variable)
        names = (wanted,) if wanted else candidates
        found = next(((name, image) for name in names if (image := look(name)) is not None), None)
        if found is None:
            missing.append(f"{names[0]} ({variable})")
            continue
        name, image = found
        digest = _digest(image, name, variables.get("REGISTRY", ""))
        chosen.append(Chosen(variable, name, digest or image.id, digest is None))
    return chosen, missing
