"""Rows of a submission for images that a user names."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from imagepipe.errors import UserError, quoted
from imagepipe.files import read_rows
from imagepipe.prediction.image_files import NewImages, same_text, without_ending


def ids_of_test_images(names: Iterable[str], ids: Iterable[str]) -> dict[str, str]:
    """Return {name: id} of those images that are test images.

    An id is the end of an image's path, from a folder's or the file's name on, with or without its
    ending. Raises `UserError` for two images of the same id.
    """
    known = set(ids)
    name_of: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(same_text(name)).parts
        ends = ["/".join(parts[first:]) for first in range(len(parts))]
        image_id = next((one for end in ends for one in (end, without_ending(end)) if one in known), None)
        if image_id is None:
            continue
        if image_id in name_of:
            raise UserError(
                f"{name}: and {name_of[image_id]} are both the test image {quoted(image_id)}; give "
                "the test images alone"
            )
        name_of[image_id] = name
    return {name: image_id for image_id, name in name_of.items()}


def submission_rows(*a): pass
