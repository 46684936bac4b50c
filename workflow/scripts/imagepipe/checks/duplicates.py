"""Finding the images that are the same, pixel for pixel, among labelled and test images."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imagepipe.dataset.packed import PackedFile
from imagepipe.files import read_rows, write_text
from imagepipe.progress import counter

ARRAYS = ("labelled", "test")
# Of images whose hashes are equal, the pixels are compared.
HASH_BYTES = 8
HASHES_AT_ONCE = 10_000


@dataclass(frozen=True)
class Duplicates:
    """The ids of images that are the same, pixel for pixel, by the array that they are in."""

    labelled: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)

    @property
    def cross_into_test(self) -> bool:
        """Whether labelled images are in the test set, too."""
        return bool(self.labelled and self.test)


def write_duplicates(packed: Path, target: Path) -> None:
    """Compare all images of `packed`/{labelled,test}.npy, and write the groups of equal ones.

    `target` becomes {"groups": [{"labelled": [id, …], "test": [id, …]}, …]}, in the order of each
    group's first image. Raises `UserError` if an array does not belong to its table.
    """
    tables = {name: packed / f"{name}.csv" for name in ARRAYS}
    found = equal_images([PackedFile.from_table(table) for table in tables.values()])
    images = images_at({row for rows in found for row in rows}, tables)
    groups = []
    for rows in found:
        ids: dict[str, list[str]] = {name: [] for name in ARRAYS}
        for row in rows:
            name, image_id = images[row]
            ids[name].append(image_id)
        groups.append(ids)
    write_text(target, json.dumps({"groups": groups}, ensure_ascii=False, indent=1) + "\n")


def images_at(rows: Collection[int], tables: Mapping[str, Path]) -> dict[int, tuple[str, str]]:
    """Return the array and the id of some images, by their rows, which count on over the tables."""
    images = ((name, i) for name, table in tables.items() for _, (i,) in read_rows(table, ("id",)))
    return {row: image for row, image in enumerate(images) if row in rows}


def read_duplicates(path: Path) -> list[Duplicates]:
    """Read what `write_duplicates` wrote."""
    groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
    return [Duplicates(**group) for group in groups]


def equal_images(files: Sequence[PackedFile]) -> list[list[int]]:
    """Return groups of two or more rows whose images are equal, in order of their first rows.

    The rows are counted on from each file to the next one.
    """
    hashes = pixel_hashes(files)
    in_order = np.sort(hashes)
    several = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    del in_order
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row in rows_with(hashes, several):
        rows_of[int(hashes[row])].append(row)
    groups: list[list[int]] = []
    for rows in rows_of.values():
        groups += really_equal(rows, files)
    return sorted(groups)


def rows_with(hashes: np.ndarray, wanted: np.ndarray) -> Iterator[int]:
    """Yield the rows whose hash is one of the `wanted`, which are in rising order."""
    for first in range(0, len(hashes) if len(wanted) else 0, HASHES_AT_ONCE):
        some = hashes[first : first + HASHES_AT_ONCE]
        places = np.minimum(np.searchsorted(wanted, some), len(wanted) - 1)
        yield from (first + np.flatnonzero(wanted[places] == some)).tolist()


def pixel_hashes(files: Sequence[PackedFile]) -> np.ndarray:
    """Return a hash of each image's pixels, as uint64 [N]."""
    total = sum(map(len, files))
    hashes = np.empty(total, dtype=np.uint64)
    done = 0
    with counter(total=total, description="compare images", unit="images") as bar:
        for file in files:
            for images in file.chunks():
                found = b"".join(map(pixel_hash, images.reshape(len(images), -1)))
                hashes[done : done + len(images)] = np.frombuffer(found, np.uint64)
                done += len(images)
                bar.advance(len(images))
    return hashes


def pixel_hash(image: np.ndarray) -> bytes:
    """Return `HASH_BYTES` bytes that are the same for the same pixels."""
    return hashlib.blake2b(image.data, digest_size=HASH_BYTES).digest()


def really_equal(rows: Sequence[int], files: Sequence[PackedFile]) -> Iterator[list[int]]:
    """Yield those groups of two or more of the `rows`, of one hash, whose pixels are equal."""
    found: list[tuple[np.ndarray, list[int]]] = []
    for row in rows:
        image = read_image(row, files)
        for first, group in found:
            if np.array_equal(first, image):
                group.append(row)
                break
        else:
            found.append((image, [row]))
    return (group for _, group in found if len(group) > 1)


def read_image(row: int, files: Sequence[PackedFile]) -> np.ndarray:
    """Return one image, uint8 [H, W, 3]; the rows are counted on from each file to the next one."""
    for file in files:
        if row < len(file):
            image: np.ndarray = file.read(row, 1)[0]
            return image
        row -= len(file)
    raise IndexError(row)
