"""Suggestions for keys and values that the configuration refuses."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagepipe.config.architectures import LIBRARIES, known_architectures
from imagepipe.errors import nearest

Keys = tuple[str, ...]

# Keys of earlier versions, and what to write instead.
_TRAININGS, _DATA = ("train", "retrain", "predict"), ("extract", "labels", "pack", "compare")


def _resource(name: str, *rules: str) -> str:
    settings = " ".join(f"{rule}:{name}=N" for rule in rules)
    return f"set a machine's resources in a profile, or by --set-resources {settings}"


_THREADS = "set threads in a profile, or by --set-threads extract=N reorganise=N pack=N train=N"
_THREADS += " retrain=N predict=N"
OLD_CONFIG_KEYS = {
    "gpus_per_run": f"{_resource('gpu', 'train', 'retrain')} (on CPUs: processes=N)",
    "nodes_per_run": _resource("nodes", "train", "retrain"),
    "data_threads": _THREADS,
    "data_mem_mb": _resource("mem_mb", *_DATA, "reorganise"),
    "data_runtime": _resource("runtime", *_DATA, "reorganise"),
    "training_threads": _THREADS,
    "training_mem_mb": _resource("mem_mb", *_TRAININGS),
    "training_runtime": _resource("runtime", *_TRAININGS),
}
OLD_DATASET_KEYS = {
    "channel_means": "it is called mean now",
    "channel_deviations": "it is called std now",
    "image_extension": "remove it: images of all formats are read",
    "submission.format": "remove it: the sample submission sets the form (or see submission.name)",
}
OLD_RECIPE_KEYS = {
    "least_steps_per_epoch": "it is called min_steps_per_epoch now",
    "optimizer.iterations": "it is called ns_steps now",
}

# Other names for a choice that no similarity of spelling finds.
OTHER_NAMES = {"gpu": "cuda"}


def nearest_choice(value: str, known: list[str]) -> str:
    """Return " (did you mean …?)" for a value that is none of the choices, or ""."""
    return nearest(OTHER_NAMES.get(value, value), known)


def percentage(value: float, largest: float) -> str:
    """Return a hint for a percentage given in place of a fraction, or ""."""
    return f" ({value:g}% is {value / 100:g})" if largest == 1 and 2 <= value <= 100 else ""


def unknown_key(
    places: Sequence[Keys], keys: Keys, key: str, value: object, known: list[str]
) -> str:
    """Return the message for an unknown key in the section `keys`, with a suggestion.

    `places` are the paths of all keys in all sections; `known` are the keys of this section.
    """
    unknown = f"unknown key {key!r}"
    # YAML reads {epochs:2} as a key without a value, which Snakemake turns into an empty string.
    glued = re.fullmatch(r"([\w.]+)([:=])(.+)", key) if value in (None, "") else None
    name, written = (glued[1], glued[3]) if glued else (key, value)
    meant = find_key(places, keys, name)
    if meant is not None and glued:
        mistake = (
            "a space is missing after the colon" if glued[2] == ":" else "use ': ' in place of '='"
        )
        return f"{unknown}; {mistake}: write {nested(meant, written)}"
    if meant is not None:
        return f"{unknown} (did you mean {'.'.join(meant)}?); write {nested(meant, written)}"
    return f"{unknown}{nearest(key, known)}; known: {', '.join(known)}"


def find_key(places: Sequence[Keys], keys: Keys, name: str) -> Keys | None:
    """Return the path of the key that `name`, written in the section `keys`, may mean, or None.

    `name` may be dotted. The section itself and its inner sections win over others, and outer
    sections over inner ones. A tie gives None.
    """
    ordered = sorted(dict.fromkeys(places), key=len)
    there = tuple(name.split("."))
    inside = [place for place in (keys + there, there) if place in ordered]
    inside += [place for place in ordered if place[:-1][: len(keys)] == keys and place[-1] == name]
    for found in (inside, [place for place in ordered if place[-1] == name]):
        outermost = {place for place in found if len(place) == len(found[0])}
        if outermost:
            return outermost.pop() if len(outermost) == 1 else None
    return None


def nested(keys: Keys, value: object) -> str:
    """Return YAML that sets a nested key, such as "{optimizer: {lr: 0.1}}"."""
    text = flow(value)
    for key in reversed(keys):
        text = f"{{{key}: {text}}}"
    return text


def flow(value: object) -> str:
    """Return a value as YAML on one line; text stays bare, as Snakemake turns numbers into text."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(flow, value))}]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def network_as_recipe(name: str) -> str | None:
    """Say how to use a network that was given as a recipe; None if it is not a network."""
    for library in LIBRARIES:
        if name in known_architectures(library):
            override = f"{{model: {{name: {library}, architecture: {name}}}}}"
            return (
                f"{name!r} is not a recipe but a network of {library}; use it with "
                f"--config recipe=d2l override='{override}'"
            )
    return None


def folder_as_dataset(name: str) -> str | None:
    """Say how to pass a folder that was given as a dataset; None if it is not a folder."""
    if not Path(name).expanduser().is_dir():
        return None
    return (
        f"{name!r} is a folder; name the dataset, and give the folder as raw_dir: "
        f"--config dataset=cifar10 raw_dir={shlex.quote(name)}"
    )


def unusable_raw_dir(name: str) -> str | None:
    """Say what to do about a raw_dir that is a file or has a brace in its path, else None."""
    path = Path(name).expanduser()
    if path.is_file():
        return f"{name!r} is a file; give its folder: raw_dir={shlex.quote(str(path.parent))}"
    if "{" in name or "}" in name:
        return f"{name!r} has a brace, which Snakemake reads as a wildcard; rename the folder"
    return None
