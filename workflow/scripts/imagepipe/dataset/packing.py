"""Decoding every image once, into arrays that the later stages read."""

import csv
import json
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NoReturn

from imagepipe.dataset.array_writing import Decoded, Options, Source, remove_rows, write_arrays
from imagepipe.dataset.image_sources import PlacedPart, find_images
from imagepipe.dataset.manifests import (
    SPLITS,
    Image,
    count_images,
    read_images,
    read_manifest,
    read_unchanged,
)
from imagepipe.errors import UserError
from imagepipe.files import atomic_write, write_text

ARRAYS = ("labelled", "test")
PACKED_COLUMNS = ("row", "id", "label")
IMAGES_PER_TASK = 1_000


@dataclass(frozen=True)
class ExtractedFiles:
    """Consecutive images that are files of their own."""

    folder: Path
    first_row: int
    paths: list[str]
    sizes: list[int]

    def read(self) -> Iterator[tuple[int, bytes]]:
        files = zip(self.paths, self.sizes, strict=True)
        for row, (path, size) in enumerate(files, start=self.first_row):
            yield row, read_unchanged(f"{self.folder}/{path}", size, "extract")


@dataclass(frozen=True)
class ArchiveFiles:
    """Images of a part of an archive: the row of each, or -1, and its CRC-32 when it was listed."""

    part: PlacedPart
    rows: "array[int]"
    checksums: "array[int]"

    def read(self) -> Iterator[tuple[int, bytes]]:
        files = zip(self.rows, self.checksums, self.part.read(), strict=True)
        for row, expected, (place, content, checksum) in files:
            if row < 0:
                continue
            if checksum != expected:
                raise UserError(
                    f"{self.part.part.archive}: {place} is not what it was when it was listed; "
                    "run again with --forcerun extract"
                )
            yield row, content


@dataclass(frozen=True)
class Images:
    """All images, labelled ones before test images, as often as asked for, and one's full name."""

    all: Callable[[], Iterator[Image]]
    where: Callable[[Image], str]


def pack(extracted: Path, labels: Path, folder: Path, options: Options) -> None:
    """Decode the images that `extract` has unpacked into arrays.

    Writes `folder`/{labelled,test}.npy, uint8 [N, image_size, image_size, 3], red, green, blue, the
    labelled images in the order of the table `labels`, the test images in natural order; the tables
    that tell their rows, {labelled,test}.csv; and decoded.json, which says what the images were and
    which were dropped. Raises `UserError` for a test image that is not an image of that size, and
    for a labelled one unless it may be dropped.
    """

    def sources() -> Iterator[ExtractedFiles]:
        images = read_images(extracted, labels)
        first = 0
        while some := list(islice(images, IMAGES_PER_TASK)):
            paths, sizes = [i.path for i in some], [i.file.size for i in some]
            yield ExtractedFiles(extracted, first, paths, sizes)
            first += len(some)

    images = Images(
        lambda: read_images(extracted, labels), lambda image: f"{extracted}/{image.path}"
    )
    _pack(images, sources(), folder, options)


def pack_archives(
    dataset: dict[str, Any],
    raw: Path,
    extracted: Path,
    labels: Path,
    folder: Path,
    options: Options,
) -> None:
    """Do as `pack` does, but read the images from the archives in `raw`, without any image file.

    `extracted` has the list of the images.
    """
    parts = find_images(dataset, raw)
    listed = sum(count_images(extracted, name) for name in SPLITS)
    if listed != sum(len(part.part.names) for part in parts):
        refuse_changed(raw, extracted, parts)
    # Of each image, in the order of the archives. A row is -1 where there is no label.
    rows, checksums = array("i", [-1]) * listed, array("I", [0]) * listed

    def images() -> Iterator[Image]:
        for row, image in enumerate(read_images(extracted, labels)):
            rows[image.file.number], checksums[image.file.number] = row, image.file.checksum
            yield image

    def sources() -> Iterator[ArchiveFiles]:
        starts = accumulate((len(part.part.names) for part in parts), initial=0)
        # The largest first, so that no process is left with one when the others are done.
        pairs = zip(parts, starts, strict=False)
        for part, start in sorted(pairs, key=lambda pair: pair[0].size(), reverse=True):
            place = slice(start, start + len(part.part.names))
            yield ArchiveFiles(part, rows[place], checksums[place])

    _pack(Images(images, lambda image: f"{raw}: {image.path}"), sources(), folder, options)


def refuse_changed(raw: Path, extracted: Path, parts: Sequence[PlacedPart]) -> NoReturn:
    """Raise `UserError` for archives that have lost or gained images since they were listed."""
    found = {place for part in parts for place in part.places()}
    for split in SPLITS:
        for _, file in read_manifest(extracted, split):
            if f"{split}/{file.name}" not in found:
                raise UserError(
                    f"{raw}: {split}/{file.name} is gone; run again with --forcerun extract"
                )
    raise UserError(f"{raw}: there are more images than before; run again with --forcerun extract")


def _pack(images: Images, sources: Iterable[Source], folder: Path, options: Options) -> None:
    """Write arrays and tables. No source is asked for before all images have been."""
    with ExitStack() as files:
        arrays = {n: files.enter_context(atomic_write(folder / f"{n}.npy")) for n in ARRAYS}
        tables = {n: files.enter_context(atomic_write(folder / f"{n}.csv")) for n in ARRAYS}
        counts = write_tables(tables, images.all(), {})
        results = write_arrays(sources, {arrays[n]: counts[n] for n in ARRAYS}, options)
        decoded = {name: results[arrays[name]] for name in ARRAYS}
        bad = bad_images(images, decoded)
        if bad:
            refuse_bad(bad, counts, images.where, options.on_bad_image)
            rows = {row for _, row in bad}
            remove_rows(arrays["labelled"], rows)
            write_tables(tables, images.all(), {"labelled": rows})
    report = {
        name: {
            "formats": dict(sorted(decoded[name].kinds.items())),
            "undecodable": [
                {"image": image.path, "problem": problem}
                for (array_name, _), (image, problem) in bad.items()
                if array_name == name
            ],
        }
        for name in ARRAYS
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, sort_keys=True)
    write_text(folder / "decoded.json", text + "\n")


def numbered(images: Iterable[Image]) -> Iterator[tuple[str, int, Image]]:
    """Yield the name of each image's array, its row there, and the image."""
    rows = dict.fromkeys(ARRAYS, 0)
    for image in images:
        name = "test" if image.split == "test" else "labelled"
        yield name, rows[name], image
        rows[name] += 1


def write_tables(
    paths: Mapping[str, Path], images: Iterable[Image], left_out: Mapping[str, Collection[int]]
) -> dict[str, int]:
    """Write the tables of the arrays' rows, without some rows, and return how many each has."""
    counts = dict.fromkeys(ARRAYS, 0)
    with ExitStack() as files:
        writers = {}
        for name, path in paths.items():
            file = files.enter_context(path.open("w", encoding="utf-8", newline=""))
            writers[name] = csv.writer(file, lineterminator="\n")
            writers[name].writerow(PACKED_COLUMNS)
        for name, row, image in numbered(images):
            if row not in left_out.get(name, ()):
                writers[name].writerow((counts[name], image.id, image.label))
                counts[name] += 1
    return counts


def bad_images(
    images: Images, decoded: Mapping[str, Decoded]
) -> dict[tuple[str, int], tuple[Image, str]]:
    """Return the images that have a problem, and the problem, by their array and row, in order."""
    if not any(one.problems for one in decoded.values()):
        return {}
    return {
        (name, row): (image, decoded[name].problems[row])
        for name, row, image in numbered(images.all())
        if row in decoded[name].problems
    }


def refuse_bad(
    bad: Mapping[tuple[str, int], tuple[Image, str]],
    counts: Mapping[str, int],
    where: Callable[[Image], str],
    on_bad_image: str,
) -> None:
    """Raise `UserError` for bad images that may not be dropped, or if all labelled ones are bad."""
    for name in ARRAYS:
        found = [one for (array_name, _), one in bad.items() if array_name == name]
        if found and (name == "test" or on_bad_image != "drop"):
            image, problem = found[0]
            others = f" ({len(found) - 1:,} more are bad, too)" if len(found) > 1 else ""
            raise UserError(f"{where(image)}: {problem}{others}")
        if found and len(found) == counts[name]:
            raise UserError(
                f"{where(found[0][0])}: cannot be decoded, and no other labelled image can; "
                "look at the archive"
            )
