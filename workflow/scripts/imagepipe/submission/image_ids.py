"""Ids of images in different files: with or without path, ending and composed accents."""

from collections.abc import Callable, Sequence

from imagepipe.files import nfc, without_ending


def matching_ids(ids: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return {id: the other file's id of the same image}, for the ids that have one.

    Ids are compared as they are; if some have no match, without their endings; if still some, by
    their files' names alone, in any case.
    """
    best: dict[str, str] = {}
    ways: list[Callable[[str], str]] = [nfc, _without_ending, _name]
    for way in ways:
        match = _match(ids, others, way)
        best = max(best, match, key=len)
        if len(best) == len(ids):
            break
    return best


def _match(ids: Sequence[str], others: Sequence[str], key: Callable[[str], str]) -> dict[str, str]:
    other_of = {key(other): other for other in others}
    if len(other_of) < len(others) or len({key(one) for one in ids}) < len(ids):
        return {}  # different images would be taken for one
    return {one: other_of[key(one)] for one in ids if key(one) in other_of}


def _without_ending(text: str) -> str:
    return without_ending(nfc(text))


def _name(text: str) -> str:
    return _without_ending(text).replace("\\", "/").rpartition("/")[2].casefold()
