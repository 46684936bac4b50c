"""Finding the image that a written id means."""

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

from imagepipe.dataset.manifests import Image
from imagepipe.errors import UserError, quoted

logger = logging.getLogger(__name__)

NUMBER = re.compile(r"0*([0-9]+)(\.0+)?")
Lookup = dict[str, list[Image]]


class ImageIndex:
    """The images of a dataset, by ids as people write them.

    An id may be that of the image, or its file name with or without path and ending. Among these,
    the id as it is goes first, then its path, then both in any case, then numbers that a
    spreadsheet has changed (7 or 7.0 for 007). Text is compared in Unicode's form NFC. If `apart`,
    the images are those for training and have a folder of their own: test/1.png is not 1.png.
    """

    def __init__(self, images: Iterable[Image], *, apart: bool = False) -> None:
        self.images = list(images)
        self.apart = apart
        self.by_id = {image.id: image for image in self.images}
        self.lookups: dict[str, Lookup] = {}
        self.changed_numbers: dict[str, str] = {}
        # Other ids of images, which go before all others.
        self.aliases: dict[str, Image] = {}

    def might_find(self, written: str) -> bool:
        """Return whether an id means an image, or several."""
        try:
            return self.find(written) is not None
        except UserError:
            return True

    def find(self, written: str, table: object = "ids", row: int = 0) -> Image | None:
        """Return the image that an id in a row of a table means, or None.

        Raises `UserError` if it may mean two.
        """
        image = self.aliases.get(written) or self.by_id.get(written)
        if image is not None:
            return image
        path = plain_path(written)
        if path in self.by_id:
            return self.by_id[path]
        for lower in (False, True):
            images = self.by_path(path, lower)
            if images:
                return only(f"{table}: row {row}", written, images)
        number = NUMBER.fullmatch(path)
        if number:
            images = self.lookup("numbers", number_keys).get(number[1], [])
            if len(images) == 1:
                self.changed_numbers[written] = images[0].id
                return images[0]
        return None

    def by_path(self, path: str, lower: bool) -> list[Image]:
        """Return the images whose path ends with `path`, or is the end of `path`."""
        fold: Callable[[str], str] = str.casefold if lower else str
        path = fold(path)
        ends = self.lookup(
            f"ends {lower}", lambda image: [fold(end) for key in paths(image) for end in tails(key)]
        )
        if path in ends:
            return ends[path]
        whole = self.lookup(f"whole {lower}", lambda image: map(fold, paths(image)))
        for end in tails(path):
            if end in whole and not (self.apart and is_of_test(path.removesuffix(end))):
                return whole[end]
        return []

    def lookup(self, name: str, keys: Callable[[Image], Iterable[str]]) -> Lookup:
        """Return the images by `keys`, made when first asked for."""
        if name not in self.lookups:
            lookup: Lookup = defaultdict(list)
            for image in self.images:
                for key in keys(image):
                    lookup[key].append(image)
            self.lookups[name] = dict(lookup)
        return self.lookups[name]

    def log_changed_numbers(self, table: object) -> None:
        """Log the ids that were found only as numbers."""
        if self.changed_numbers:
            written, image_id = next(iter(self.changed_numbers.items()))
            logger.info(
                f"{table}: {len(self.changed_numbers):,} ids are other numbers than the images', "
                f"such as {quoted(written)} for {quoted(image_id)}; they are taken as equal"
            )
            self.changed_numbers = {}


def only(place: str, written: str, images: list[Image]) -> Image:
    """Return the only image. Raises `UserError` if there are two."""
    if len(images) > 1:
        raise UserError(
            f"{place}: the id {quoted(written)} may mean {quoted(images[0].below)} or "
            f"{quoted(images[1].below)}; write the path and the ending"
        )
    return images[0]


def plain_path(written: str) -> str:
    """Return an id in NFC, with "/" in paths, and none at the start."""
    path = unicodedata.normalize("NFC", written).replace("\\", "/")
    while path.startswith(("./", "/")):
        path = path[1:] if path[0] == "/" else path[2:]
    return path


def paths(image: Image) -> tuple[str, str]:
    """Return an image's path below its folder, with and without the ending."""
    path = unicodedata.normalize("NFC", image.below).strip()
    return path, path.rpartition(".")[0]


def is_of_test(folders: str) -> bool:
    """Return whether folders before an image's path are those of test images."""
    names = folders.casefold().split("/")
    return "test" in names and "train" not in names


def tails(path: str) -> list[str]:
    """Return "a/b/c", "b/c" and "c" of a path "a/b/c"."""
    ends = [path]
    while "/" in path:
        path = path.partition("/")[2]
        ends.append(path)
    return ends


def number_keys(image: Image) -> list[str]:
    """Return an image's number, if its name is one."""
    number = NUMBER.fullmatch(image.id)
    return [number[1]] if number else []
