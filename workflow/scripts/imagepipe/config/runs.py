"""Runs: their names, the list of validated ones, and the standard error of their accuracy."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Recipe keys without effect on a single training.
NOT_OF_A_RUN = ("title", "members")
LONGEST_CHANGES = 80
HASH_DIGITS = 8
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")
_ODD = re.compile(r"[^\w.+-]+")
_FOLDER = re.compile(r"seed([0-9]+)")


def run_name(recipe_name: str, recipe: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    """Return the name of the run that trains with `changed`, a changed `recipe`.

    It joins the recipe's name and the changes, such as fast@optimizer.lr=0.1@epochs=5. In a long
    list of changes, a hash replaces the last ones. Names are equal exactly if the settings are.
    """
    found = {k: v for k, v in changes(recipe, changed).items() if k not in NOT_OF_A_RUN}
    if not found:
        return recipe_name
    # No commas: Snakemake cannot pass them to a cluster job in a wildcard.
    texts = [f"@{key}={_text(value)}" for key, value in found.items()]
    if len("".join(texts)) <= LONGEST_CHANGES:
        return "".join([recipe_name, *texts])
    kept: list[str] = []
    while len("".join([*kept, texts[len(kept)]])) <= LONGEST_CHANGES:
        kept.append(texts[len(kept)])
    return "".join([recipe_name, *kept, f"@+{len(texts) - len(kept)}-{short_hash(found)}"])


def own_recipe_name(stem: str, recipe: Mapping[str, Any]) -> str:
    """Return the name of a user's own recipe, with a hash because the file may change."""
    settings = {key: value for key, value in recipe.items() if key not in NOT_OF_A_RUN}
    return f"{_ODD.sub('-', stem)}-{short_hash(settings)}"


def short_hash(value: object) -> str:
    """Return a short hexadecimal hash of a JSON value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of `after` that differ from `before`, by dotted key, in their order."""
    old = dict(leaves(before))
    return {key: value for key, value in leaves(after) if old.get(key, old) != value}


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of each setting, including nested ones."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    """Return text for a file name, different for each value of a key."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    return short_hash(value)


def validated_runs(results: Path) -> list[tuple[str, int]]:
    """Return the name and seed of each run with validated results in a folder, sorted."""
    found = []
    for path in results.glob("*/seed*/train/run.yaml"):
        seed = _FOLDER.fullmatch(path.parts[-3])
        if seed and (path.parent / "metrics.json").is_file():
            found.append((path.parts[-4], int(seed[1])))
    return sorted(found)


def standard_error(accuracy: float, images: int) -> float:
    """Return √(p(1 − p)/n), the standard error of an accuracy p in 0…1 on n images."""
    return math.sqrt(accuracy * (1 - accuracy) / images)
