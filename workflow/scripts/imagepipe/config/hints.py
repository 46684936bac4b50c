"""What a user may have meant by a key or a value that the configuration does not take."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagepipe.config.architectures import LIBRARIES, known_architectures
from imagepipe.errors import nearest

Keys = tuple[str, ...]

# What people call a choice, where no spelling is near.
OTHER_NAMES = {"gpu": "cuda"}


def nearest_choice(value: str, known: list[str]) -> str:
    """Return " (did you mean …?)" for a value that is none of the choices, or nothing."""
    return nearest(OTHER_NAMES.get(value, value), known)


def percentage(value: float, largest: float) -> str:
    """Return a hint for a value that looks like a percentage where a part is wanted, or nothing."""
    return f" ({value:g}% is {value / 100:g})" if largest == 1 and 2 <= value <= 100 else ""


def unknown_key(schema: Mapping[str, Any], keys: Keys, key: str, value: object) -> str:
    """Say that the section `keys` has no such key, and what may have been meant.

    `schema` is that of all sections.
    """
    unknown = f"unknown key {key!r}"
    # YAML takes {epochs:2} for a key without a value, which Snakemake makes an empty text.
    glued = re.fullmatch(r"([\w.]+)([:=])(.+)", key) if value in (None, "") else None
    name, written = (glued[1], glued[3]) if glued else (key, value)
    meant = find_key(schema, keys, name)
    if meant is not None and glued:
        mistake = (
            "a space is missing after the colon"
            if glued[2] == ":"
            else "':' and a space are to stand in place of '='"
        )
        return f"{unknown}; {mistake}: write {nested(meant, written)}"
    if meant is not None:
        return f"{unknown} (did you mean {'.'.join(meant)}?); write {nested(meant, written)}"
    section = schema
    for part in keys:
        section = section["items"] if part.isdecimal() else section["properties"][part]
    known = list(section["properties"])
    return f"{unknown}{nearest(key, known)}; known: {', '.join(known)}"


def find_key(schema: Mapping[str, Any], keys: Keys, name: str) -> Keys | None:
    """Return where a key is that was looked for in the section `keys`, or None if nowhere.

    `name` may be written with dots. The section itself and those in it go before others, and the
    outer ones before the inner ones. Several that are as far out say nothing.
    """
    places = sorted(key_paths(schema), key=len)
    there = tuple(name.split("."))
    inside = [place for place in (keys + there, there) if place in places]
    inside += [place for place in places if place[:-1][: len(keys)] == keys and place[-1] == name]
    for found in (inside, [place for place in places if place[-1] == name]):
        outermost = {place for place in found if len(place) == len(found[0])}
        if outermost:
            return outermost.pop() if len(outermost) == 1 else None
    return None


def key_paths(schema: Mapping[str, Any], keys: Keys = ()) -> Iterator[Keys]:
    """Yield the places of all keys of a schema but those in lists."""
    for key, inner in schema.get("properties", {}).items():
        yield (*keys, key)
        yield from key_paths(inner, (*keys, key))


def nested(keys: Keys, value: object) -> str:
    """Return how a key in sections is written, such as "{optimizer: {lr: 0.1}}"."""
    text = flow(value)
    for key in reversed(keys):
        text = f"{{{key}: {text}}}"
    return text


def flow(value: object) -> str:
    """Return a value as YAML on one line; text as it is, as Snakemake makes texts of numbers."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def network_as_recipe(name: str) -> str | None:
    """Say how a network is taken whose name is given as a recipe's; None if none has the name."""
    for library in LIBRARIES:
        if name in known_architectures(library):
            override = f"{{model: {{name: {library}, architecture: {name}}}}}"
            return (
                f"{name!r} is no recipe but a network of {library}; take it by "
                f"--config recipe=d2l override='{override}'"
            )
    return None


def folder_as_dataset(name: str) -> str | None:
    """Say how a folder is given that stands in a dataset's place; None if it is no folder."""
    if not Path(name).expanduser().is_dir():
        return None
    return (
        f"{name!r} is a folder; name the dataset, and give the folder as raw_dir: "
        f"--config dataset=cifar10 raw_dir={shlex.quote(name)}"
    )


def file_as_raw_dir(name: str) -> str | None:
    """Say which folder to give in the place of a file; None if it is no file."""
    path = Path(name).expanduser()
    if not path.is_file():
        return None
    return f"{name!r} is a file; give its folder: raw_dir={shlex.quote(str(path.parent))}"
