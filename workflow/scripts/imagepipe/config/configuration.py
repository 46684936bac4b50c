"""Reading the configuration, a dataset file and a recipe file, and checking them by schema.

Each is checked by a JSON schema (`workflow/schemas/`), which is also the one place of every
option's type, range, default and description. Values that arrive as text (from `--config`, or
`2e-4`, which YAML reads as text) are first read by the schema's type.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from imagepipe.config import hints
from imagepipe.config.recipe_checks import check_recipe
from imagepipe.config.runs import own_recipe_name, run_name
from imagepipe.errors import UserError, nearest

Schema = Mapping[str, Any]
Options = dict[str, Any]

BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
UPPER_BOUNDS = ("maximum", "exclusiveMaximum")


@dataclass(frozen=True)
class Configuration:
    """What a user asked for, checked and complete.

    `settings` are the keys of config.yaml, `dataset` and `recipe` the contents of the two files
    that it names, the recipe with `override` applied. The dataset's name is its file's stem, and
    that of the run says what the recipe is (see `runs.run_name`).
    """

    settings: Options
    dataset_name: str
    dataset: Options
    run_name: str
    recipe: Options


def load_configuration(user_config: Mapping[str, Any], workflow_folder: Path) -> Configuration:
    """Check a user's configuration and read the dataset and the recipe that it names.

    `workflow_folder` holds `schemas/`, `datasets/` and `recipes/`. Raises `UserError` for an
    unknown key, a value of the wrong type or range, an unknown dataset or recipe, and a recipe that
    cannot work (see `check_recipe`).
    """
    schemas = {
        kind: yaml.safe_load((workflow_folder / "schemas" / f"{kind}.schema.yaml").read_text())
        for kind in ("config", "dataset", "recipe")
    }
    refuse_keys_of_recipe(user_config, schemas["config"], schemas["recipe"])
    settings = check(dict(user_config), schemas["config"], "config")
    misplaced = hints.file_as_raw_dir(settings["raw_dir"] or "")
    if misplaced:
        raise UserError(f"config: raw_dir: {misplaced}")
    dataset_path = find_file("dataset", settings["dataset"], workflow_folder / "datasets")
    recipe_path = find_file("recipe", settings["recipe"], workflow_folder / "recipes")
    dataset = check(read_yaml(dataset_path), schemas["dataset"], str(dataset_path))
    as_written = read_yaml(recipe_path)
    recipe = unchanged = check(as_written, schemas["recipe"], str(recipe_path))
    if settings["override"]:
        recipe = check(merge(as_written, settings["override"]), schemas["recipe"], "override")
    check_recipe(recipe, dataset["image_size"], settings, str(recipe_path))
    if dataset["source"] == "folder" and settings["raw_dir"] is None:
        raise UserError(
            f"config: raw_dir: is not set, and {dataset_path.stem} has its images in folders of "
            f"yours; set it to the folder that holds {dataset['train_folder']}/ and "
            f"{dataset['test_folder']}/"
        )
    if dataset["source"] == "raw_dir" and settings["raw_dir"] is None:
        files = dataset["bundle"] or ", ".join(file["name"] for file in dataset["files"])
        raise UserError(
            f"config: raw_dir: is not set, and {dataset_path.stem} is not downloaded by itself; "
            f"get {files} from {dataset['homepage']}, and set raw_dir to the folder"
        )
    name = recipe_path.stem
    if recipe_path.parent != workflow_folder / "recipes":
        name = own_recipe_name(name, unchanged)
    run = run_name(name, unchanged, recipe)
    return Configuration(settings, dataset_path.stem, dataset, run, recipe)


def refuse_keys_of_recipe(
    user_config: Mapping[str, Any], config_schema: Schema, recipe_schema: Schema
) -> None:
    """Raise `UserError` for a key that stands beside `override` and belongs in it."""
    for key, value in user_config.items():
        if key in config_schema["properties"]:
            continue
        place = hints.find_key(recipe_schema, (), str(key))
        if place is not None:
            raise UserError(
                f"config: unknown key {str(key)!r}; it is a key of the recipe: write "
                f"override='{hints.nested(place, value)}'"
            )


def canonical_json(options: object) -> str:
    """Return the same text for the same options, whatever the order of their keys."""
    return json.dumps(options, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


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


def read_yaml(path: Path) -> Options:
    """Read a YAML file that holds a mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise UserError(f"{path}: not valid YAML ({detail}); correct it") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: a mapping of keys to values is expected; correct the file")
    return content


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Options:
    """Return `base` with single keys changed, mappings inside mappings merged."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both_mappings = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both_mappings else value  # type: ignore[arg-type]
    return merged


def check(options: object, schema: Schema, source: str) -> Options:
    """Return the options with types read by the schema and defaults filled in.

    `source` names the file in error messages. Raises `UserError` for what the schema refuses.
    """
    complete = _coerced(options, schema, source, schema)
    errors = Draft202012Validator(schema).iter_errors(complete)
    error = min(errors, key=lambda e: (len(e.absolute_path), e.json_path), default=None)
    if error is not None:
        raise UserError(f"{_where(source, list(error.absolute_path))}: {_explain(error)}")
    return complete  # type: ignore[no-any-return]


def _where(source: str, keys: list[Any]) -> str:
    # Items of lists are counted from 1.
    names = [str(key + 1) if isinstance(key, int) else str(key) for key in keys]
    return f"{source}: {'.'.join(names)}" if keys else source


def _explain(error: Any) -> str:
    value = json.dumps(error.instance, ensure_ascii=False, default=str)
    limit = error.validator_value
    match error.validator:
        case "type":
            return f"is {value}, but must be {_type_names(limit)}"
        case "enum":
            known = [str(choice) for choice in limit]
            guess = hints.nearest_choice(str(error.instance), known)
            return f"is {value}, but must be one of {', '.join(known)}{guess}"
        case "required":
            return str(error.message).replace("is a required property", "is missing")
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" as bound:
            hint = hints.percentage(error.instance, limit) if bound in UPPER_BOUNDS else ""
            return f"is {value}, but must be {BOUNDS[bound]} {limit}{hint}"
        case _:
            return " ".join(str(error.message).split())


def _type_names(types: str | list[str]) -> str:
    words = {
        "null": "null",
        "object": "a mapping {key: value}",
        "array": "a list",
        "string": "text",
    }
    words |= {"boolean": "true or false", "integer": "a whole number", "number": "a number"}
    return " or ".join(words[name] for name in ([types] if isinstance(types, str) else types))


def _coerced(
    value: Any, schema: Schema, source: str, whole: Schema, keys: tuple[str, ...] = ()
) -> Any:
    """Read text by the schema's type, refuse unknown keys, and fill in defaults.

    `schema` is that of the section `keys`, a part of the `whole` one.
    """
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if isinstance(value, str):
        value = _read_text(value, types)
    elif "string" in types and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    elif isinstance(value, int) and not isinstance(value, bool) and "number" in types:
        value = float(value)
    elif isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    elif isinstance(value, float) and value.is_integer() and "integer" in types:
        value = int(value)
    if isinstance(value, Mapping) and "properties" in schema:
        return _coerced_mapping(value, schema, source, whole, keys)
    if isinstance(value, list) and "items" in schema:
        return [
            _coerced(item, schema["items"], source, whole, (*keys, str(number)))
            for number, item in enumerate(value, start=1)
        ]
    return value


def _coerced_mapping(
    value: Mapping[str, Any], schema: Schema, source: str, whole: Schema, keys: tuple[str, ...]
) -> Options:
    properties = schema["properties"]
    for key in value:
        if key not in properties:
            explanation = hints.unknown_key(whole, keys, str(key), value[key])
            raise UserError(f"{_where(source, list(keys))}: {explanation}")
    complete: Options = {}
    for key, subschema in properties.items():
        if key in value:
            complete[key] = _coerced(value[key], subschema, source, whole, (*keys, key))
        elif "default" in subschema:
            complete[key] = _coerced(subschema["default"], subschema, source, whole, (*keys, key))
    return complete


def _read_text(text: str, types: list[str]) -> Any:
    if "null" in types and text.strip().lower() in ("null", "none", "~", ""):
        return None
    if "string" in types:
        return text
    if "integer" in types:
        return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) else text
    if "number" in types:
        try:
            number = float(text)
        except ValueError:
            return text
        return number if math.isfinite(number) else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
