"""The names of torchvision's and timm's networks, found without importing either.

Both libraries register networks with the decorator `register_model`. Reading their source takes
milliseconds; importing them would delay every call of the workflow by seconds.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from imagepipe.errors import nearest

LIBRARIES = ("torchvision", "timm")

# The decorator, with or without a name, perhaps more decorators, and the function. The pattern
# starts with literal text, for which `re` searches fast.
REGISTERED = re.compile(
    r"""\n@register_model\b (?:\( (?:name=)? (?:["'](\w+)["'])? \))? .*\n
    (?:@.*\n)* def\ (\w+)""",
    re.VERBOSE,
)


@cache
def known_architectures(library: str) -> frozenset[str]:
    """Return the names of the networks that a library registers.

    The set is empty if it is not installed, or registers networks in an unknown way.
    """
    spec = find_spec(library)
    folders = (spec.submodule_search_locations if spec else None) or []
    names: set[str] = set()
    for path in (path for folder in folders for path in Path(folder, "models").glob("*.py")):
        matches = REGISTERED.finditer(path.read_text(encoding="utf-8", errors="replace"))
        names |= {match[1] or match[2] for match in matches}
    return frozenset(names)


def without_tag(library: str, architecture: str) -> str:
    """Return a network's name without the tag by which timm names one of its weights.

    That is resnet50 of resnet50.a1_in1k.
    """
    found = re.fullmatch(r"(\w+)\.\w+", architecture) if library == "timm" else None
    return found[1] if found else architecture


def unknown_architecture(library: str, architecture: str, known: Iterable[str]) -> str:
    """Return the message for a network that a library does not have."""
    guess = nearest(architecture, sorted(known))
    return f"{library} has no {architecture!r}{guess}; see {library}'s list of models"
