"""Decoding every image once, into arrays that the later stages read."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagepipe.array_writing import Decoded, Options, Source, remove_rows, write_arrays
from imagepipe.errors import UserError
from imagepipe.files import write_rows, write_text, written_whole
from imagepipe.image_sources import PlacedPart, find_images
from imagepipe.manifests import read_unchanged
from imagepipe.reorganising import TreeImage, read_tree, tree_images

PACKED_COLUMNS = ("row", "id", "label", "split")
IMAGES_PER_TASK = 1_000


@dataclass(frozen=True)
class TreeFiles:
    """Consecutive images of the tree."""

    tree: Path
    first_row: int
    paths: list[str]
    sizes: list[int]

    def read(self) -> Iterator[tuple[int, bytes]]:
        files = zip(self.paths, self.sizes, strict=True)
        for row, (path, size) in enumerate(files, start=self.first_row):
            yield row, read_unchanged(f"{self.tree}/{path}", size, "reorganise")


@dataclass(frozen=True)
class ArchiveFiles:
    """Files of a part of an archive; a row is -1 where a file goes into another array, or none."""

    part: PlacedPart
    rows: list[int]

    def read(self) -> Iterator[tuple[int, bytes]]:
        for row, (_, content, _) in zip(self.rows, self.part.read(), strict=True):
            if row >= 0:
                yield row, content


def pack(tree: Path, folder: Path, options: Options) -> None:
    """Decode the images of the book's folder tree into arrays.

    Writes `folder`/{labelled,test}.npy, uint8 [N, image_size, image_size, 3], red, green, blue, in
    the order of the tree's manifest, the tables that tell their rows, {labelled,test}.csv, and
    decoded.json, which says what the images were and which were dropped. Raises `UserError` for a
    test image that is not an image of that size, and for a labelled one unless it may be dropped.
    """

    def sources(images: Sequence[TreeImage]) -> Iterator[TreeFiles]:
        for first in range(0, len(images), IMAGES_PER_TASK):
            some = images[first : first + IMAGES_PER_TASK]
            yield TreeFiles(tree, first, [i.path for i in some], [i.size for i in some])

    _pack(list(read_tree(tree)), sources, lambda i: f"{tree}/{i.path}", folder, options)


def pack_archives(
    dataset: dict[str, Any], raw: Path, extracted: Path, split: Path, folder: Path, options: Options
) -> None:
    """Do as `pack` does, but read the images from the archives in `raw`, without any image file.

    `extracted` has the list of the images, `split` says which are in train and valid.
    """
    parts = find_images(dataset, raw, {})

    def sources(images: Sequence[TreeImage]) -> Iterator[ArchiveFiles]:
        row_of = {_place(image): row for row, image in enumerate(images)}
        for part in parts:
            rows = [row_of.pop(place, -1) for place in part.places]
            if max(rows, default=-1) >= 0:
                yield ArchiveFiles(part, rows)
        for place in row_of:
            raise UserError(f"{raw}: {place} is gone; run again with --forcerun extract")

    images = list(tree_images(extracted, split))
    _pack(images, sources, lambda i: f"{raw}: {_place(i)}", folder, options)


def _place(image: TreeImage) -> str:
    """Return an image's split, as the competition has it, and its file's name."""
    name = image.path.rpartition("/")[2]
    return f"{'test' if image.split == 'test' else 'train'}/{name}"


def _pack(
    images: Sequence[TreeImage],
    sources: Callable[[Sequence[TreeImage]], Iterable[Source]],
    where: Callable[[TreeImage], str],
    folder: Path,
    options: Options,
) -> None:
    """Write arrays and tables. `where` names an image in messages."""
    parts = {
        "labelled": [image for image in images if image.split != "test"],
        "test": [image for image in images if image.split == "test"],
    }
    report: dict[str, Any] = {}
    with (
        written_whole(folder / "labelled.npy") as labelled_array,
        written_whole(folder / "test.npy") as test_array,
    ):
        arrays = {"labelled": labelled_array, "test": test_array}
        results = write_arrays(
            {array: list(sources(parts[name])) for name, array in arrays.items()},
            {array: len(parts[name]) for name, array in arrays.items()},
            options,
        )
        for name, array in arrays.items():
            may_drop = name == "labelled" and options.on_bad_image == "drop"
            report[name] = finish(array, parts[name], results[array], where, may_drop)
    for name, part in parts.items():
        bad = results[arrays[name]].problems
        kept = (image for row, image in enumerate(part) if row not in bad)
        rows = ((row, image.id, image.label, image.split) for row, image in enumerate(kept))
        write_rows(folder / f"{name}.csv", PACKED_COLUMNS, rows)
    text = json.dumps(report, indent=2, ensure_ascii=False, sort_keys=True)
    write_text(folder / "decoded.json", text + "\n")


def finish(
    array: Path,
    images: Sequence[TreeImage],
    decoded: Decoded,
    where: Callable[[TreeImage], str],
    may_drop: bool,
) -> dict[str, Any]:
    """Leave bad images out of an array, or raise `UserError` if they may not be dropped.

    Returns what there is to report.
    """
    if decoded.problems and not may_drop:
        row, problem = min(decoded.problems.items())
        more = len(decoded.problems) - 1
        others = f" ({more:,} more are bad, too)" if more else ""
        raise UserError(f"{where(images[row])}: {problem}{others}")
    if len(decoded.problems) == len(images):
        raise UserError(
            f"{where(images[0])}: cannot be decoded, and no other labelled image can; "
            "look at the archive"
        )
    if decoded.problems:
        remove_rows(array, decoded.problems)
    return {
        "formats": dict(sorted(decoded.kinds.items())),
        "undecodable": [
            {"image": _place(images[row]), "problem": problem}
            for row, problem in sorted(decoded.problems.items())
        ],
    }
