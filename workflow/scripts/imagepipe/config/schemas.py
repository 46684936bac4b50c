"""JSON schemas and tables of all options, made from their models."""

import ast
import inspect
import json
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from imagepipe.config.dataset import Dataset
from imagepipe.config.options import Options, is_list, plain_annotations, sections
from imagepipe.config.recipe import Recipe
from imagepipe.config.settings import Settings
from imagepipe.files import write_text

SCHEMAS: dict[str, type[Options]] = {"config": Settings, "dataset": Dataset, "recipe": Recipe}
# How the bounds of a value are written, by the names of annotated_types.
BOUNDS = {"gt": "> {}", "ge": "≥ {}", "lt": "< {}", "le": "≤ {}"}
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", dict: "mapping"}
HEAD = """\
# Options

Made by `imagepipe schema --write` from the models in `workflow/scripts/imagepipe/config/`. A key
with kinds, such as `model`, takes the keys of the kind that its `name` says, and no others.
"""
TITLES = {
    "config": "config.yaml and --config",
    "dataset": "Dataset files",
    "recipe": "Recipe files and override",
}


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that repeat the names of keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def descriptions(model: type[Options]) -> dict[str, str]:
    """Return what the text below each field of a model says.

    It is read here alone: pydantic's `use_attribute_docstrings` would read it in every call.
    """
    found: dict[str, str] = {}
    for one in reversed(model.__mro__[: model.__mro__.index(Options)]):
        body = ast.parse(inspect.getsource(one)).body[0].body  # type: ignore[attr-defined]
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(key)), ast.Expr(ast.Constant(str(words))):
                    found[key] = " ".join(words.split())
    return found


def json_schema(name: str) -> str:
    """Return the JSON schema of config.yaml, dataset files or recipe files, as text."""
    model = SCHEMAS[name]
    schema = model.model_json_schema(schema_generator=_WithoutTitles)
    models = {one.__name__: one for one in _all_sections(model)}
    for title, part in {model.__name__: schema, **schema.get("$defs", {})}.items():
        for key, text in descriptions(models[title]).items():
            part["properties"][key]["description"] = text
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _all_sections(model: type[Options]) -> Iterator[type[Options]]:
    yield model
    for field in model.model_fields.values():
        for inner in sections(field.annotation):
            yield from _all_sections(inner)


def options_page() -> str:
    """Return a page of Markdown with a table of every option."""
    parts = [HEAD]
    for name, model in SCHEMAS.items():
        parts += [f"## {TITLES[name]}\n", *_tables(model)]
    return "\n".join(parts)


def write_all(project: Path) -> list[Path]:
    """Write all schemas and the page of options into a checkout; return their paths."""
    texts = {f"workflow/schemas/{name}.schema.json": json_schema(name) for name in SCHEMAS}
    texts["docs/options.md"] = options_page()
    for path, text in texts.items():
        write_text(project / path, text)
    return [project / path for path in texts]


def _tables(model: type[Options], prefix: str = "") -> Iterator[str]:
    """Yield a section's table, and then those of the sections in it."""
    rows = [
        f"| `{prefix}{key}` | {_type(field)} | {_default(field)} | {descriptions(model)[key]} |"
        for key, field in model.model_fields.items()
        if key != "name" or not _is_kind(model)
    ]
    if rows:
        yield (
            "\n".join(["| key | type | default | description |", "|---|---|---|---|", *rows]) + "\n"
        )
    for key, field in model.model_fields.items():
        for inner in sections(field.annotation):
            place = f"{prefix}{key}{'[]' if is_list(field.annotation) else ''}"
            kind = f", `name: {inner.model_fields['name'].default}`" if _is_kind(inner) else ""
            yield f"### `{place}`{kind}\n\n{' '.join((inner.__doc__ or '').split())}\n"
            yield from _tables(inner, f"{place}.")


def _is_kind(model: type[Options]) -> bool:
    field = model.model_fields.get("name")
    return field is not None and get_origin(field.annotation) is Literal


def _type(field: FieldInfo) -> str:
    words = []
    for one in plain_annotations(field.annotation):
        inner = sections(one)
        if get_origin(one) is Literal:
            words.append(", ".join(f"`{choice}`" for choice in get_args(one)))
        elif get_origin(one) is list:
            words.append("list")
        elif (len(inner) == 1 and inner[0].model_fields.get("name") is None) or inner == [one]:
            words.append("section")
        elif one is not NoneType:
            words.append(WORDS.get(get_origin(one) or one, "section"))
    bounds = [
        BOUNDS[name].format(f"{getattr(part, name):g}")
        for part in field.metadata
        for name in BOUNDS
        if isinstance(getattr(part, name, None), int | float)
    ]
    kinds = sections(field.annotation)
    if len(kinds) > 1:
        return "one of " + ", ".join(f"`{one.model_fields['name'].default}`" for one in kinds)
    or_null = " or null" if NoneType in plain_annotations(field.annotation) else ""
    return " ".join([words[0], *bounds]) + or_null


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if isinstance(default, Options):
        name = getattr(default, "name", None)
        return f"`{name}`" if name else "as below"
    return f"`{json.dumps(default, ensure_ascii=False)}`"
