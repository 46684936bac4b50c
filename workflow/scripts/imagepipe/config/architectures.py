"""The names of the networks of torchvision and timm, found without importing either.

Both libraries register their networks by a decorator, `register_model`. To read their source text
takes milliseconds; to import them takes seconds, which every call of the workflow would wait for.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from imagepipe.errors import nearest

LIBRARIES = ("torchvision", "timm")

# The decorator, with a name or without, maybe others, and the function that it decorates. It begins
# with a literal text, for which `re` searches fast.
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

    They are none if it is not installed, or registers them in a way that is not known here.
    """
    spec = find_spec(library)
    places = (spec.submodule_search_locations if spec else None) or []
    names: set[str] = set()
    for path in (path for place in places for path in Path(place, "models").glob("*.py")):
        found = REGISTERED.finditer(path.read_text(encoding="utf-8", errors="replace"))
        names |= {match[1] or match[2] for match in found}
    return frozenset(names)


def not_installed(library: str) -> str:
    """Say that a library is not installed, and what to do."""
    return f"{library} is not installed; install it by `pip install {library}`"


def unknown_architecture(library: str, architecture: str, known: Iterable[str]) -> str:
    """Say that a library has no network of a name, and what to do."""
    guess = nearest(architecture, sorted(known))
    return f"{library} has no {architecture!r}{guess}; see {library}'s list of models"
