"""Finding the image that a written id means."""

import logging
import re
from collections.abc import Callable, Container, Iterable, Sequence

from imagepipe.dataset.manifests import Image
from imagepipe.errors import UserError, quoted
from imagepipe.files import is_image, nfc

logger = logging.getLogger(__name__)

NUMBER = re.compile(r"0*([0-9]+)(\.0+)?")
# Most keys have one image. A list for each would take more memory than the images.
Lookup = dict[str, Image | list[Image]]


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
        # {written: image's id} of the ids that were found only as numbers, or in another case.
        self.changed_numbers: dict[str, str] = {}
        self.changed_case: dict[str, str] = {}
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
        return self.find_all([(row, written)], table)[0]

    def find_all(self, rows: Sequence[tuple[int, str]], table: object) -> list[Image | None]:
        """Return the images that the ids of a table mean, given as (row, id).

        An image that one row means exactly is not what another row means by a like name: with
        rows Ab and aB, the image aB.png is only that of aB. Raises `UserError` for an id that may
        mean two images.
        """
        found = [self.find_exact(written, f"{table}: row {row}") for row, written in rows]
        taken = {image.id for image in found if image is not None}
        for n, (row, written) in enumerate(rows):
            if found[n] is None:
                found[n] = self.find_alike(written, f"{table}: row {row}", taken)
        return found

    def find_exact(self, written: str, place: str) -> Image | None:
        """Return the image of this id, or of this path, whose ending may be in any case.

        Raises `UserError` if there are two.
        """
        image = self.aliases.get(written) or self.by_id.get(written)
        if image is not None:
            return image
        path = plain_path(written)
        if path in self.by_id:
            return self.by_id[path]
        return only(place, written, self.by_path(path, with_lower_ending))

    def find_alike(self, written: str, place: str, taken: Container[str]) -> Image | None:
        """Return the image of this path in another case, or of this number.

        It must not be one of the `taken` ids. Raises `UserError` if there are two.
        """
        path = plain_path(written)
        images = self.by_path(path, str.casefold)
        if images:
            # Case matters where another row has one of them as it is.
            if any(image.id in taken for image in images):
                return None
            image = only(place, written, images)
            if image is not None and name_without_ending(image) not in path:
                self.changed_case[written] = image.id
            return image
        image = self.of_number(path)
        if image is None or image.id in taken:
            return None
        self.changed_numbers[written] = image.id
        return image

    def of_name(self, written: str) -> Image | None:
        """Return the image whose file has this id or number as its name, whatever the aliases."""
        return self.by_id.get(written) or self.of_number(written)

    def of_number(self, written: str) -> Image | None:
        """Return the only image whose id is this number."""
        number = NUMBER.fullmatch(written)
        images = images_of(self.lookup("numbers", number_keys), number[1]) if number else []
        return images[0] if len(images) == 1 else None

    def by_path(self, path: str, fold: Callable[[str], str]) -> list[Image]:
        """Return the images whose path ends with `path`, or is the end of `path`.

        Texts are equal if `fold` makes them equal.
        """
        images = [
            image
            for image in (*self.candidates(path), *self.candidates(f"/{path}"))
            if any(f"/{fold(key)}".endswith(f"/{fold(path)}") for key in paths(image))
        ]
        if images:
            return images
        for end in tails(path):
            images = [
                image
                for image in self.candidates(f"/{end}")
                if any(fold(key) == fold(end) for key in paths(image))
            ]
            if images and not (self.apart and is_of_test(path.removesuffix(end))):
                return images
        return []

    def candidates(self, path: str) -> list[Image]:
        """Return the images of a key of `stem_keys`, given in any case and with an ending.

        One lookup, without the endings, serves all ways to write an id.
        """
        lookup = self.lookup("paths", stem_keys)
        images = images_of(lookup, path.casefold())
        folder, slash, base = path.rpartition("/")
        if "." in base:
            stem = f"{folder}{slash}{base.rpartition('.')[0]}".casefold()
            images = [*images, *images_of(lookup, stem)]
        return images

    def lookup(self, name: str, keys: Callable[[Image], Iterable[str]]) -> Lookup:
        """Return the images by `keys`, made when first asked for."""
        if name not in self.lookups:
            lookup: Lookup = {}
            for image in self.images:
                for key in keys(image):
                    others = lookup.setdefault(key, image)
                    if isinstance(others, list):
                        others.append(image)
                    elif others is not image:
                        lookup[key] = [others, image]
            self.lookups[name] = lookup
        return self.lookups[name]

    def log_changes(self, table: object) -> None:
        """Log the ids that were found only as numbers, or in another case."""
        for what, changed in (
            ("are other numbers than", self.changed_numbers),
            ("differ in upper and lower case from", self.changed_case),
        ):
            if changed:
                written, image_id = next(iter(changed.items()))
                logger.info(
                    f"{table}: {len(changed):,} ids {what} the images', such as "
                    f"{quoted(written)} for {quoted(image_id)}; they are taken as equal"
                )
        self.changed_numbers, self.changed_case = {}, {}


def images_of(lookup: Lookup, key: str) -> list[Image]:
    """Return the images of a key."""
    found = lookup.get(key, [])
    return found if isinstance(found, list) else [found]


def only(place: str, written: str, images: list[Image]) -> Image | None:
    """Return the only image, or None. Raises `UserError` if there are two."""
    if len(images) > 1:
        raise UserError(
            f"{place}: the id {quoted(written)} may mean {quoted(images[0].below)} or "
            f"{quoted(images[1].below)}; write the path and the ending"
        )
    return images[0] if images else None


def plain_path(written: str) -> str:
    """Return an id in NFC, with "/" in paths, and none at the start."""
    path = nfc(written).replace("\\", "/")
    while path.startswith(("./", "/")):
        path = path[1:] if path[0] == "/" else path[2:]
    return path


def with_lower_ending(path: str) -> str:
    """Return a path with the ending of an image in lower case."""
    stem, dot, ending = path.rpartition(".")
    return f"{stem}{dot}{ending.lower()}" if is_image(path) else path


def paths(image: Image) -> tuple[str, str]:
    """Return an image's path below its folder, with and without the ending."""
    path = nfc(image.below).strip()
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


def name_without_ending(image: Image) -> str:
    """Return the name of an image's file, without folders and ending."""
    return paths(image)[1].rpartition("/")[2]


def stem_keys(image: Image) -> list[str]:
    """Return "/a/b/c", "b/c" and "c" of an image's path "a/b/c" without ending, in lower case."""
    path, *ends = tails(paths(image)[1].casefold())
    return [f"/{path}", *ends]


def number_keys(image: Image) -> list[str]:
    """Return an image's number, if its name is one."""
    number = NUMBER.fullmatch(image.id)
    return [number[1]] if number else []
