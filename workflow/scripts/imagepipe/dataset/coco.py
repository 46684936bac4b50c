"""Reading JSON files like COCO's: lists of images, annotations and categories."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagepipe.errors import UserError, one_line, quoted
from imagepipe.files import nfc

Id = int | str


@dataclass(frozen=True)
class CocoImage:
    """An image of the file: its id there, its file name, and its categories' names and ids."""

    id: str
    file_name: str
    classes: tuple[str, ...]
    category_ids: tuple[str, ...] = ()


def read_coco(path: Path, where: Mapping[str, str] | None = None) -> list[CocoImage]:
    """Return the images of a JSON file like COCO's, in its order, each class once, sorted.

    With `where`, only images whose keys have these values. Without the list of categories, the
    classes are the annotations' category_id. Raises `UserError` for a file of another form.
    """
    content = read_json(path)
    entries = list_of(path, content, "images", ("id", "file_name"))
    annotations = list_of(path, content, "annotations", ("image_id", "category_id"), optional=True)
    categories = list_of(path, content, "categories", ("id", "name"), optional=True)
    names = {one["id"]: nfc(str(one["name"])).strip() for one in categories}
    classes: dict[Id, set[str]] = defaultdict(set)
    ids: dict[Id, set[str]] = defaultdict(set)
    known = {one["id"] for one in entries}
    for number, one in enumerate(annotations, start=1):
        image, category = one["image_id"], one["category_id"]
        if image not in known or (names and category not in names):
            key, value = ("image_id", image) if image not in known else ("category_id", category)
            what = "image" if key == "image_id" else "category"
            raise UserError(
                f"{path}: annotations[{number}]: {key} is {value!r}, but there is no {what} with "
                "this id; get the file again"
            )
        classes[image].add(names[category] if names else str(category))
        ids[image].add(str(category))
    images = [
        CocoImage(
            str(one["id"]),
            str(one["file_name"]).strip(),
            tuple(sorted(classes[one["id"]])),
            tuple(sorted(ids[one["id"]])),
        )
        for one in entries
        if all(str(one.get(key)) == value for key, value in (where or {}).items())
    ]
    if not images:
        filtered = " with the values of `where`" if where else ""
        raise UserError(f"{path}: has no images{filtered}; get the file again")
    return images


def read_json(path: Path) -> Mapping[str, Any]:
    """Return the content of a JSON file. Raises `UserError` if it is no JSON, or no mapping."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: the file does not exist; get it again") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON (nested too deeply); get it again") from None
    except ValueError as error:
        reason = quoted(one_line(str(error)))
        raise UserError(f"{path}: not valid JSON ({reason}); get it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no JSON file like COCO's, with a list images; correct it")
    return content


def list_of(
    path: Path,
    content: Mapping[str, Any],
    name: str,
    keys: tuple[str, str],
    *,
    optional: bool = False,
) -> list[dict[str, Any]]:
    """Return a list of mappings, which all have the `keys`. Raises `UserError` for any other."""
    entries = content.get(name, [] if optional else None)
    if not isinstance(entries, list):
        raise UserError(f"{path}: has no list {name}; it must be JSON like COCO's")
    for number, entry in enumerate(entries, start=1):
        for key in keys:
            value = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(value, int | str) or isinstance(value, bool):
                raise UserError(
                    f"{path}: {name}[{number}]: {key} must be a number or text, "
                    f"but is {quoted(repr(value))}"
                )
    return entries
