"""The names of the networks in torchvision and timm, found without importing either.

Both libraries register networks by a decorator, `register_model`. Reading their source text takes
milliseconds. Importing them takes seconds, for which every call of the workflow would wait.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from imagepipe.errors import nearest

LIBRARIES = ("torchvision", "timm")

# The decorator, with or without a name, maybe more decorators, and the function. `re` searches fast
# for the literal text at the beginning.
REGISTERED = re.compile(
    r"""\n@register_model\b (?:\( (?:name=)? (?:["'](\w+)["'])? \))? .*\n
    (?:@.*\n)* def\ (\w+)""",
    re.VERBOSE,
)


def is_installed(library: str) -> bool:
    """Say whether a library can be imported."""
    return find_spec(library) is not None


@cache
def known_architectures(library: str) -> frozenset[str]:
    """Return the names of the networks that a library registers.

    There are none if it is not installed, or registers networks in a way unknown to us.
    """
    spec = find_spec(library)
    folders = (spec.submodule_search_locations if spec else None) or []
    names: set[str] = set()
    for path in (path for folder in folders for path in Path(folder, "models").glob("*.py")):
        matches = REGISTERED.finditer(path.read_text(encoding="utf-8", errors="replace"))
        names |= {match[1] or match[2] for match in matches}
    return frozenset(names)


def not_installed(library: str) -> str:
    """Return the message for a library that is not installed."""
    return f"{library} is not installed; install it by `pip install {library}`"


def unknown_architecture(library: str, architecture: str, known: Iterable[str]) -> str:
    """Return the message for a network that a library does not have."""
    guess = nearest(architecture, sorted(known))
    return f"{library} has no {architecture!r}{guess}; see {library}'s list of models"
