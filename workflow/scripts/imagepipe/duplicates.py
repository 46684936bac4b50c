"""Finding the images that are the same, pixel for pixel, within and between the splits."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from imagepipe.files import write_text
from imagepipe.packed_chunks import PackedFile
from imagepipe.packed_images import read_packed
from imagepipe.progress import counter

SPLITS = ("train", "valid", "test")
DIGEST_BYTES = 16


@dataclass(frozen=True)
class Duplicates:
    """The ids of images that are the same, pixel for pixel, in each split."""

    train: list[str] = field(default_factory=list)
    valid: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)

    def ids(self, split: str) -> list[str]:
        """Return the ids in "train", "valid" or "test"."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[split]

    @property
    def labelled(self) -> list[str]:
        """The ids in train and in valid."""
        return self.train + self.valid

    @property
    def cross_into_test(self) -> bool:
        """Whether labelled images are in the test set, too."""
        return bool(self.labelled and self.test)


def write_duplicates(packed: Path, target: Path) -> None:
    """Compare all images of `packed`/{labelled,test}.npy, and write the groups of equal ones.

    `target` becomes {"groups": [{"train": [id, …], "valid": [id, …], "test": [id, …]}, …]}, in the
    order of each group's first image. Raises `UserError` if an array does not belong to its table.
    """
    ids: list[str] = []
    splits: list[str] = []
    files: list[PackedFile] = []
    for name in ("labelled", "test"):
        table = read_packed(packed / f"{name}.npy", packed / f"{name}.csv").table
        ids += table["id"].tolist()
        splits += table["split"].tolist()
        files.append(PackedFile.of(packed / f"{name}.npy"))
    groups = []
    for rows in equal_images(files):
        group = Duplicates()
        for row in rows:
            group.ids(splits[row]).append(ids[row])
        groups.append(asdict(group))
    write_text(target, json.dumps({"groups": groups}, ensure_ascii=False, indent=1) + "\n")


def read_duplicates(path: Path) -> list[Duplicates]:
    """Read what `write_duplicates` wrote."""
    groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
    return [Duplicates(**group) for group in groups]


def equal_images(files: Sequence[PackedFile]) -> list[list[int]]:
    """Return groups of two or more rows whose images are equal, in order of their first rows.

    The rows are counted on from each file to the next one.
    """
    digests = digests_of(files)
    # Stable: of equal digests, the rows stay in order.
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    differs = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    starts = np.concatenate([[0], np.flatnonzero(differs) + 1, [len(order)]])
    groups: list[list[int]] = []
    for index in np.flatnonzero(np.diff(starts) > 1):
        rows = order[starts[index] : starts[index + 1]]
        groups += really_equal(rows.tolist(), files)
    return sorted(groups)


def digests_of(files: Sequence[PackedFile]) -> np.ndarray:
    """Return a digest of each image's pixels, as uint64 [N, 2]."""
    total = sum(map(len, files))
    digests = np.empty((total, DIGEST_BYTES // 8), dtype=np.uint64)
    done = 0
    with counter(total=total, description="compare images", unit="images") as bar:
        for file in files:
            for images in file.chunks():
                found = b"".join(map(digest, images.reshape(len(images), -1)))
                digests[done : done + len(images)] = np.frombuffer(found, np.uint64).reshape(-1, 2)
                done += len(images)
                bar.advance(len(images))
    return digests


def digest(image: np.ndarray) -> bytes:
    """Return `DIGEST_BYTES` bytes that are the same for the same pixels."""
    return hashlib.blake2b(image.data, digest_size=DIGEST_BYTES).digest()


def really_equal(rows: Sequence[int], files: Sequence[PackedFile]) -> Iterator[list[int]]:
    """Yield those groups of two or more of the `rows`, of one digest, whose pixels are equal."""
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
