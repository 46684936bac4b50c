"""The base class of all option sections: reads text by type, and explains mistakes in one line.

Options are pydantic models. A key with several kinds, such as `optimizer`, is a union of models
with different `name`s.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, ValidationError, model_validator

from imagepipe.config import hints
from imagepipe.errors import UserError

Section = TypeVar("Section", bound="Options")

BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
    "less_than": ("lt", "less than"),
}
TYPES = {
    "bool_type": "true or false",
    "dict_type": "a mapping {key: value}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping {key: value}",
    "string_type": "text",
    "union_tag_not_found": "a mapping {key: value}",
}


class Options(BaseModel):
    """A section of options. Unknown keys and values of the wrong type are refused.

    Values may be text (`--config` passes only text, and YAML reads `2e-4` as text): each is read by
    its type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_values(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        fields, named = cls.model_fields, {key_text(key): value for key, value in values.items()}
        return {
            key: read_value(value, fields[key].annotation) if key in fields else value
            for key, value in named.items()
        }

    def part(self, section: type[Section]) -> Section:
        """Return these options as another section, without the keys that it lacks."""
        return section.model_validate(self.model_dump(include=set(section.model_fields)))

    @classmethod
    def checked(cls, values: object, source: str) -> Self:
        """Return options from a mapping. Raises `UserError` that names `source`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            # Of a key that takes text or a section, there is an error for each: one fits the value.
            errors = [one for one in error.errors() if not is_of_other_type(one)]
            first = min(errors, key=lambda e: (len(e["loc"]), e["type"] == "missing"))
            keys, explanation = explained(cls, first)
            where = ".".join(str(key + 1) if isinstance(key, int) else key for key in keys)
            raise UserError(f"{source}: {where + ': ' if where else ''}{explanation}") from None


def key_text(key: object) -> str:
    """Return a key of YAML as text. YAML reads some keys as other types, such as `on` as true."""
    return "on" if key is True else str(key)


def with_text_keys(value: Any) -> Any:
    """Return a value of YAML whose keys are text on all levels."""
    if isinstance(value, Mapping):
        return {key_text(key): with_text_keys(inner) for key, inner in value.items()}
    return value


def kind(default: str) -> Discriminator:
    """Return the discriminator of a section's kinds: its key `name`, or the default kind."""

    def name_of(value: Any) -> str | None:
        if isinstance(value, str):
            value = read_value(value, dict)
        if isinstance(value, Mapping):
            return str(value.get("name", default))
        return getattr(value, "name", None)

    return Discriminator(name_of)


def read_value(value: Any, annotation: Any) -> Any:
    """Return a value converted to the type of its annotation, or unchanged if it does not fit."""
    types = set(plain_types(annotation))
    if isinstance(value, str):
        return read_text(value, types)
    if isinstance(value, bool):
        return value
    if str in types and isinstance(value, int | float):
        return str(value)
    if isinstance(value, float) and value.is_integer() and int in types:
        return int(value)
    if isinstance(value, list):
        items = [item for one in plain_annotations(annotation) for item in get_args(one)]
        return [read_value(item, items[0]) for item in value] if items else value
    if isinstance(value, dict):
        items = [get_args(one) for one in plain_annotations(annotation) if get_origin(one) is dict]
        return (
            {key_text(key): read_value(one, items[0][1]) for key, one in value.items()}
            if items
            else value
        )
    return value


def read_text(text: str, types: set[type]) -> Any:
    """Return text converted to one of `types`, or unchanged if it fits none."""
    # A space is text: labels.separator may be one.
    if NoneType in types and (not text or text.strip().lower() in ("null", "none", "~")):
        return None
    if str in types:
        return text
    if int in types:
        return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text) else text
    if float in types:
        try:
            number = float(text)
        except ValueError:
            return text
        return number if math.isfinite(number) else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def plain_annotations(annotation: Any) -> Iterator[Any]:
    """Yield the alternatives of an annotation: `list[int] | None` has two."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        for inner in get_args(annotation):
            yield from plain_annotations(inner)
    else:
        yield annotation


def plain_types(annotation: Any) -> Iterator[type]:
    """Yield the types that an annotation allows."""
    for one in plain_annotations(annotation):
        origin = get_origin(one)
        if origin is Literal:
            yield from map(type, get_args(one))
        else:
            yield origin or one


def sections(annotation: Any) -> list[type[Options]]:
    """Return the sections that a key with this annotation may hold, directly or in a list."""
    found: list[type[Options]] = []
    for one in plain_annotations(annotation):
        if get_origin(one) is list:
            found += sections(get_args(one)[0])
        elif isinstance(one, type) and issubclass(one, Options):
            found.append(one)
    return found


def is_list(annotation: Any) -> bool:
    """Return whether a key with this annotation holds a list."""
    return list in set(plain_types(annotation))


def key_paths(section: type[Options], keys: hints.Keys = ()) -> Iterator[hints.Keys]:
    """Yield the paths of all keys of a section and its inner sections, except those in lists."""
    for key, field in section.model_fields.items():
        yield (*keys, key)
        if not is_list(field.annotation):
            for inner in sections(field.annotation):
                yield from key_paths(inner, (*keys, key))


def is_of_other_type(error: Any) -> bool:
    """Return whether a pydantic error is about the alternative of a union that was not meant.

    Its last item is then the alternative's name: "str", or that of a section's class.
    """
    name = str(error["loc"][-1]) if error["loc"] else ""
    if name == "str":
        return isinstance(error["input"], Mapping)
    return error["type"] == "model_type" and name[:1].isupper()


@dataclass(frozen=True)
class Place:
    """The place of a value: its path of keys, the section of the last key, and the value's type.

    `others` are the other kinds of that section.
    """

    keys: tuple[str | int, ...]
    section: type[Options]
    annotation: Any
    others: tuple[type[Options], ...] = ()


def place_of(root: type[Options], location: Iterable[str | int]) -> Place:
    """Return the place of a pydantic location: a path of keys, list indices and names of kinds."""
    place, inside = Place((), root, root), sections(root)
    for item in location:
        if item == "str" or item in [one.__name__ for one in inside]:
            continue  # an alternative of a key that takes text or a section
        named = (
            [one for one in inside if one.model_fields["name"].default == item]
            if (len(inside) > 1)
            else []
        )
        if named:
            others = tuple(one for one in inside if one is not named[0])
            place, inside = replace(place, section=named[0], others=others), named
            continue
        if isinstance(item, int):
            annotation = get_args(next(plain_annotations(place.annotation)))[0]
            place = Place((*place.keys, item), place.section, annotation)
        elif not inside:  # a key of a mapping
            values = get_args(next(plain_annotations(place.annotation)))
            place = Place((*place.keys, item), place.section, values[-1] if values else None)
        else:
            section = inside[0]
            others = place.others if section is place.section else ()
            field = section.model_fields.get(item)
            annotation = field.annotation if field else None
            place = Place((*place.keys, item), section, annotation, others)
        inside = sections(place.annotation)
    return place


def explained(root: type[Options], error: Any) -> tuple[tuple[str | int, ...], str]:
    """Return the path of keys of a pydantic error, as a user writes it, and an explanation."""
    place = place_of(root, error["loc"])
    keys, value, context = place.keys, error["input"], error.get("ctx", {})
    shown = json.dumps(value, ensure_ascii=False, default=str)
    match error["type"]:
        case "extra_forbidden":
            return keys[:-1], unknown_key(root, place, value)
        case "missing":
            return keys[:-1], f"{keys[-1]!r} is missing"
        case "literal_error":
            known = [str(one) for a in plain_annotations(place.annotation) for one in get_args(a)]
            guess = hints.nearest_choice(str(value), known)
            return keys, f"is {shown}, but must be one of {', '.join(known)}{guess}"
        case "union_tag_invalid":
            known = [one.model_fields["name"].default for one in sections(place.annotation)]
            guess = hints.nearest_choice(context["tag"], known)
            return (*keys, "name"), (
                f"is {json.dumps(context['tag'])}, but must be one of {', '.join(known)}{guess}"
            )
        case bound if bound in BOUNDS:
            name, words = BOUNDS[bound]
            hint = hints.percentage(value, context[name]) if bound.startswith("less") else ""
            return keys, f"is {shown}, but must be {words} {context[name]:g}{hint}"
        case wrong if wrong in TYPES:
            or_null = " or null" if NoneType in set(plain_types(place.annotation)) else ""
            return keys, f"is {shown}, but must be {TYPES[wrong]}{or_null}"
        case "too_short" | "too_long":
            length = context.get("min_length", context.get("max_length"))
            return keys, f"is {shown}, but must have {length} items"
        case "string_too_short":
            return keys, "is empty; fill it in"
        case "string_pattern_mismatch":
            return keys, f"is {shown}, but must be text that matches {context['pattern']}"
    return keys, " ".join(str(context.get("error", error["msg"])).split())


def unknown_key(root: type[Options], place: Place, value: object) -> str:
    """Return the message for an unknown key; another kind or another section may have it."""
    key, section = str(place.keys[-1]), place.section
    owners = [one.model_fields["name"].default for one in place.others if key in one.model_fields]
    if owners:
        name = section.model_fields["name"].default
        have = "has" if len(owners) == 1 else "have"
        return f"the key {key!r} does not apply to {name}; only {' and '.join(owners)} {have} it"
    keys = tuple(str(one) for one in place.keys[:-1] if isinstance(one, str))
    return hints.unknown_key(list(key_paths(root)), keys, key, value, list(section.model_fields))
