"""Images that are the same, pixel for pixel, among labelled and test images."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagepipe.dataset.packed import PackedFile
from imagepipe.files import read_rows, write_text
from imagepipe.progress import counter

ARRAYS = ("labelled", "test")


@dataclass(frozen=True)
class Duplicates:
    """The ids of images with the same pixels, by the array that they are in."""

    labelled: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)

    @property
    def cross_into_test(self) -> bool:
        """Whether labelled images are also in the test set."""
        return bool(self.labelled and self.test)


def write_duplicates(packed: Path, target: Path) -> None:
    """Compare all images of `packed`/{labelled,test}.npy, and write the groups of equal ones.

    `target` becomes {"groups": [{"labelled": [id, …], "test": [id, …]}, …]}, in the order of each
    group's first image. Raises `UserError` if an array does not belong to its table.
    """
    tables = {name: packed / f"{name}.csv" for name in ARRAYS}
    files = {name: PackedFile.from_table(table) for name, table in tables.items()}
    images: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
    total = sum(map(len, files.values()))
    with counter(total=total, description="compare images", unit="images") as bar:
        for name, table in tables.items():
            ids = (image_id for _, (image_id,) in read_rows(table, ("id",)))
            for image_id, key in zip(ids, pixel_hashes(files[name]), strict=True):
                images[key].append((name, image_id))
                bar.advance(1)
    groups = [
        {name: [image_id for array, image_id in group if array == name] for name in ARRAYS}
        for group in images.values()
        if len(group) > 1
    ]
    write_text(target, json.dumps({"groups": groups}, ensure_ascii=False, indent=1) + "\n")


def pixel_hashes(file: PackedFile) -> Iterator[bytes]:
    """Yield a hash of each image's pixels, too long for two images to share one by accident."""
    for chunk in file.chunks():
        for image in chunk:
            yield hashlib.blake2b(image.data, digest_size=32).digest()


def read_duplicates(path: Path) -> list[Duplicates]:
    """Read what `write_duplicates` wrote."""
    groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
    return [Duplicates(**group) for group in groups]
