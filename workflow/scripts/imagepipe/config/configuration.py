"""Reads the configuration, and the dataset and recipe files that it names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from imagepipe.config import hints
from imagepipe.config.dataset import Dataset
from imagepipe.config.image_form import ImageForm, image_form
from imagepipe.config.options import key_paths
from imagepipe.config.recipe import Recipe
from imagepipe.config.recipe_checks import check_recipe
from imagepipe.config.runs import own_recipe_name, run_name
from imagepipe.config.settings import Settings
from imagepipe.errors import UserError, nearest


@dataclass(frozen=True)
class Configuration:
    """The complete, checked configuration of a call.

    `recipe` has `override` applied. `dataset_name` is the stem of the dataset's file; `run_name`
    describes the recipe (see `runs.run_name`); `form` is that of the stored images.
    """

    settings: Settings
    dataset_name: str
    dataset: Dataset
    run_name: str
    recipe: Recipe
    form: ImageForm


def load_configuration(user_config: Mapping[str, Any], workflow_folder: Path) -> Configuration:
    """Check a user's configuration and read the dataset and the recipe that it names.

    `workflow_folder` holds `datasets/` and `recipes/`. Raises `UserError` for an unknown key, a
    value of the wrong type or range, an unknown dataset or recipe, or a recipe that cannot work
    (see `check_recipe`).
    """
    refuse_misplaced_keys(user_config)
    settings = Settings.checked(dict(user_config), "config")
    misplaced = hints.unusable_raw_dir(settings.raw_dir or "")
    if misplaced:
        raise UserError(f"config: raw_dir: {misplaced}")
    dataset_path = find_file("dataset", settings.dataset, workflow_folder / "datasets")
    recipe_path = find_file("recipe", settings.recipe, workflow_folder / "recipes")
    dataset = Dataset.checked(read_yaml(dataset_path, hints.OLD_DATASET_KEYS), str(dataset_path))
    recipe = in_file = Recipe.checked(
        read_yaml(recipe_path, hints.OLD_RECIPE_KEYS), str(recipe_path)
    )
    if settings.override:
        refuse_old_keys(settings.override, hints.OLD_RECIPE_KEYS, "override")
        changed = merge(in_file.model_dump(), settings.override)
        recipe = Recipe.checked(changed, "override")
    form = image_form(dataset.image_size, recipe.image_size, recipe.fit)
    check_recipe(recipe, form, settings, str(recipe_path))
    if settings.raw_dir is None:
        refuse_without_raw_dir(dataset, dataset_path.stem)
    name = recipe_path.stem
    if recipe_path.parent != workflow_folder / "recipes":
        name = own_recipe_name(name, in_file.model_dump())
    run = run_name(name, in_file.model_dump(), named_settings(in_file, recipe))
    return Configuration(settings, dataset_path.stem, dataset, run, recipe, form)


def named_settings(before: Recipe, after: Recipe) -> dict[str, Any]:
    """Return the settings of a changed recipe, as the run's name compares them.

    A section of another kind keeps only the settings that differ from that kind's defaults.
    """
    settings = after.model_dump()
    for key, value in settings.items():
        new, old = getattr(after, key), getattr(before, key)
        if isinstance(value, dict) and "name" in value and new.name != old.name:
            settings[key] = {"name": new.name} | new.model_dump(exclude_defaults=True)
    return settings


def refuse_misplaced_keys(user_config: Mapping[str, Any]) -> None:
    """Raise `UserError` for a key that has moved, or that belongs in `override`."""
    refuse_old_keys(user_config, hints.OLD_CONFIG_KEYS, "config")
    places = list(key_paths(Recipe))
    for key, value in user_config.items():
        place = hints.find_key(places, (), str(key))
        if key not in Settings.model_fields and place is not None:
            raise UserError(
                f"config: unknown key {str(key)!r}; it is a key of the recipe: write "
                f"override='{hints.nested(place, value)}'"
            )


def refuse_old_keys(options: Mapping[str, Any], moved: Mapping[str, str], source: str) -> None:
    """Raise `UserError` for a key of an earlier version; `moved` says what to write instead."""
    for key, advice in moved.items():
        if has_key(options, key):
            raise UserError(f"{source}: the key {key!r} has gone; {advice}")


def has_key(options: Mapping[str, Any], key: str) -> bool:
    """Return whether `options` set a dotted key."""
    first, _, rest = key.partition(".")
    inner = options.get(first)
    return first in options and (not rest or (isinstance(inner, Mapping) and has_key(inner, rest)))


def refuse_without_raw_dir(dataset: Dataset, name: str) -> None:
    """Raise `UserError` for a dataset whose files only the user has."""
    if dataset.source == "folder":
        folders = [dataset.train_folder, *([dataset.test_folder] if dataset.test_folder else [])]
        raise UserError(
            f"config: raw_dir: is not set, and the images of {name} are in a folder of yours; set "
            f"it to the folder that holds {' and '.join(f'{folder}/' for folder in folders)}"
        )
    if dataset.source == "raw_dir":
        files = dataset.bundle or ", ".join(file.name for file in dataset.files)
        raise UserError(
            f"config: raw_dir: is not set, and {name} cannot be downloaded automatically; get "
            f"{files}{f' from {dataset.homepage}' if dataset.homepage else ''}, and set raw_dir to "
            "the folder"
        )


def canonical_json(options: object) -> str:
    """Return JSON text that is the same for equal options in any order of keys."""

    def plain(value: object) -> Any:
        if isinstance(value, BaseModel):
            return value.model_dump()
        raise TypeError(f"{value!r} is not an option")

    return json.dumps(
        options, default=plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def find_file(kind: str, name: str, folder: Path) -> Path:
    """Return the file of a dataset or recipe: `name` in `folder`, or a path to a user's own."""
    is_path = "/" in name or name.endswith((".yaml", ".yml"))
    path = Path(name).expanduser() if is_path else folder / f"{name}.yaml"
    if path.is_file():
        return path
    hint = hints.folder_as_dataset(name) if kind == "dataset" else hints.network_as_recipe(name)
    if hint:
        raise UserError(f"config: {kind}: {hint}")
    if is_path:
        raise UserError(f"config: {kind}: there is no file {name!r}; correct the path")
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    raise UserError(
        f"config: {kind}: there is no {kind} {name!r}{nearest(name, known)}; "
        f"known: {', '.join(known)}, or a path to your own .yaml file"
    )


def read_yaml(path: Path, moved: Mapping[str, str]) -> dict[str, Any]:
    """Read a YAML file that holds a mapping. Raises `UserError` for a key that has `moved`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML ({detail}); correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a mapping of keys to values is expected; correct the file")
    refuse_old_keys(content, moved, str(path))
    return content


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` merged into it, section by section.

    A section whose `name` changes starts from the defaults of the new kind.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            is_same_kind = value.get("name", old.get("name")) == old.get("name")
            value = merge(old, value) if is_same_kind else value
        merged[key] = value
    return merged
