"""Ids of images in different files: with or without path, ending and composed accents."""

import unicodedata
from collections.abc import Callable, Sequence

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")


def matching_ids(ids: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return {id: the other file's id of the same image}, for the ids that have one.

    Ids are compared as they are; if some have no match, without their endings; if still some, by
    their files' names alone.
    """
    ways: list[Callable[[str], str]] = [_composed, _without_ending, _name]
    matches = [_match(ids, others, way) for way in ways]
    return max(matches, key=len)


def _match(ids: Sequence[str], others: Sequence[str], key: Callable[[str], str]) -> dict[str, str]:
    other_of = {key(other): other for other in others}
    if len(other_of) < len(others) or len({key(one) for one in ids}) < len(ids):
        return {}  # different images would be taken for one
    return {one: other_of[key(one)] for one in ids if key(one) in other_of}


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _without_ending(text: str) -> str:
    stem, dot, ending = _composed(text).rpartition(".")
    return stem if f"{dot}{ending}".lower() in ENDINGS else _composed(text)


def _name(text: str) -> str:
    return _without_ending(text).replace("\\", "/").rpartition("/")[2]
