"""Decoding every image once, into arrays that the later stages read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from imagepipe.config.dataset import Contents
from imagepipe.dataset.array_writing import ImageSource, remove_rows, write_arrays
from imagepipe.dataset.image_sources import FoundFiles, find_images
from imagepipe.dataset.manifests import Image, labelled_images, read_manifest, read_unchanged
from imagepipe.errors import UserError
from imagepipe.files import atomic_write, write_rows, write_text

ARRAYS = ("labelled", "test")
PACKED_COLUMNS = ("row", "id", "label")
IMAGES_PER_SOURCE = 1_000


@dataclass(frozen=True)
class ExtractedImages:
    """Images of consecutive rows, in files of their own."""

    folder: Path
    first_row: int
    paths: list[str]
    sizes: list[int]

    def read(self) -> Iterator[tuple[int, bytes]]:
        files = zip(self.paths, self.sizes, strict=True)
        for row, (path, size) in enumerate(files, start=self.first_row):
            yield row, read_unchanged(f"{self.folder}/{path}", size)


@dataclass(frozen=True)
class ArchivedImages:
    """Images in a chunk of an archive.

    Each has its row, or None if it has no label, and the CRC-32 that it had when it was listed.
    """

    files: FoundFiles
    rows: list[int | None]
    checksums: list[int]

    def read(self) -> Iterator[tuple[int, bytes]]:
        chunk = self.files.chunk
        listed = zip(self.files.paths, self.rows, self.checksums, chunk.read(), strict=True)
        for path, row, expected, (content, checksum) in listed:
            if row is None:
                continue
            if checksum != expected:
                raise UserError(
                    f"{chunk.archive}: {path} has changed since it was listed; "
                    "run again with --forcerun extract"
                )
            yield row, content


def pack(
    extracted: Path,
    labels: Path,
    folder: Path,
    *,
    image_size: int,
    on_bad_image: str = "error",
    workers: int = 1,
    archives: tuple[Contents, Path] | None = None,
) -> None:
    """Decode every image once, into one array of labelled and one of test images.

    `extracted` holds manifest.tsv and, where `archives` is None, the images. `archives` is what the
    archives contain, and their folder. Writes `folder`/{labelled,test}.npy, uint8 [N, image_size,
    image_size, 3], red, green, blue, the labelled images in the order of the table `labels`, the
    test images in natural order; their tables of rows, {labelled,test}.csv; and decoded.json: which
    formats the images had, and which were dropped. Raises `UserError` for a bad image, unless it is
    labelled and `on_bad_image` is "drop".
    """
    manifest = read_manifest(extracted)
    labelled = labelled_images(manifest, labels)
    test = [image for image in manifest if image.is_test]
    images = [*labelled, *test]
    sources: Sequence[ImageSource]
    if archives is None:
        location = f"{extracted}/"
        sources = extracted_images(extracted, images)
    else:
        location = f"{archives[1]}: "
        sources = archived_images(*archives, manifest, images)
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_write(folder / f"{name}.npy")) for name in ARRAYS]
        counts = dict(zip(paths, (len(labelled), len(test)), strict=True))
        decoded = write_arrays(sources, counts, image_size, workers)
        problems = decoded.problems
        if problems:
            refuse_bad(images, problems, len(labelled), on_bad_image, location)
            remove_rows(paths[0], problems)
    dropped = [{"image": images[row].path, "problem": problems[row]} for row in sorted(problems)]
    kept = [image for row, image in enumerate(labelled) if row not in problems]
    report = {}
    for index, (name, rows) in enumerate(zip(ARRAYS, (kept, test), strict=True)):
        table = ((row, image.id, image.label) for row, image in enumerate(rows))
        write_rows(folder / f"{name}.csv", PACKED_COLUMNS, table)
        formats = {f: count for (i, f), count in decoded.formats.items() if i == index}
        undecodable = dropped if name == "labelled" else []
        report[name] = {"formats": formats, "undecodable": undecodable}
    text = json.dumps(report, indent=2, ensure_ascii=False, sort_keys=True)
    write_text(folder / "decoded.json", text + "\n")


def extracted_images(folder: Path, images: Sequence[Image]) -> list[ExtractedImages]:
    """Return all images, from the files in `folder`."""
    sources: list[ExtractedImages] = []
    for first in range(0, len(images), IMAGES_PER_SOURCE):
        some = images[first : first + IMAGES_PER_SOURCE]
        paths, sizes = [image.path for image in some], [image.size for image in some]
        sources.append(ExtractedImages(folder, first, paths, sizes))
    return sources


def archived_images(
    contents: Contents, raw: Path, manifest: Sequence[Image], images: Sequence[Image]
) -> list[ArchivedImages]:
    """Return all images, from the archives in `raw`.

    Raises `UserError` if the archives have lost or gained images since the manifest was written.
    """
    found = find_images(contents, raw)
    if len(manifest) != sum(len(files.paths) for files in found):
        refuse_changed(raw, manifest, found)
    row_of = {image.number: row for row, image in enumerate(images)}
    checksums = {image.number: image.checksum for image in manifest}
    sources: list[ArchivedImages] = []
    first = 0
    for files in found:
        numbers = range(first, first + len(files.paths))
        rows = [row_of.get(number) for number in numbers]
        sources.append(ArchivedImages(files, rows, [checksums[number] for number in numbers]))
        first += len(files.paths)
    # The largest first, so that no process is left with one when the others are done.
    return sorted(sources, key=lambda source: source.files.size(), reverse=True)


def refuse_changed(raw: Path, manifest: Sequence[Image], found: Sequence[FoundFiles]) -> NoReturn:
    """Raise `UserError` for archives that have lost or gained images since they were listed."""
    paths = {path for files in found for path in files.paths}
    for image in manifest:
        if image.path not in paths:
            raise UserError(f"{raw}: {image.path} is gone; run again with --forcerun extract")
    raise UserError(f"{raw}: there are more images than before; run again with --forcerun extract")


def refuse_bad(
    images: Sequence[Image],
    problems: Mapping[int, str],
    labelled: int,
    on_bad_image: str,
    location: str,
) -> None:
    """Raise `UserError` for bad images that may not be dropped, or if all labelled ones are bad.

    `problems` says what is wrong with which of the `images`, the first `labelled` of which are
    labelled. `location` is what a message has before an image's path.
    """
    bad = sorted(problems)
    refused = [row for row in bad if row >= labelled or on_bad_image != "drop"]
    if refused:
        others = f" ({len(refused) - 1:,} more are bad, too)" if len(refused) > 1 else ""
        row = refused[0]
        raise UserError(f"{location}{images[row].path}: {problems[row]}{others}")
    if len(bad) == labelled:
        raise UserError(
            f"{location}{images[bad[0]].path}: cannot be decoded, and no other labelled image can; "
            "look at the archive"
        )
