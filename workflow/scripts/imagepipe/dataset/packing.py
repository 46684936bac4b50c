"""Decoding every image once, into arrays that the later stages read."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

from imagepipe.config.dataset import Contents
from imagepipe.config.image_form import ImageForm
from imagepipe.dataset.array_writing import (
    Decoded,
    ImageSource,
    read_sizes,
    remove_rows,
    write_arrays,
)
from imagepipe.dataset.channels import channels_from_histogram, write_channels
from imagepipe.dataset.decoding import read_size
from imagepipe.dataset.fitting import Target, stored_size
from imagepipe.dataset.image_sources import FoundFiles, find_images
from imagepipe.dataset.manifests import (
    Image,
    labelled_images,
    listed_test_images,
    read_manifest,
    read_unchanged,
)
from imagepipe.errors import UserError
from imagepipe.files import atomic_write, natural_key, write_rows, write_text

logger = logging.getLogger(__name__)

ARRAYS = ("labelled", "test")
PACKED_COLUMNS = ("row", "id", "label")
# The most images, and the bytes of files, that a process takes at once.
IMAGES_PER_SOURCE = 1_000
BYTES_PER_SOURCE = 16 << 20
# Often, the first images are as large as the target, and no others need to be looked at.
IMAGES_TO_TRY = 100
# Of a format, as `decode` names it.
SIZE = re.compile("([0-9]+)×([0-9]+)")


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
    test_ids: Path,
    folder: Path,
    form: ImageForm,
    *,
    on_bad_image: str = "error",
    workers: int = 1,
    archives: tuple[Contents, Path] | None = None,
) -> None:
    """Decode every image once, into one array of labelled and one of test images.

    `extracted` holds manifest.tsv and, where `archives` is None, the images. `archives` is what the
    archives contain, and their folder. Writes `folder`/{labelled,test}.npy, uint8 [N, H, W, 3],
    red, green, blue, the labelled images in the order of the table `labels`, those of the table
    `test_ids` in natural order of their ids; their tables of rows, {labelled,test}.csv;
    channels.json, the statistics of the labelled images' channels; and decoded.json: which formats
    the images had, which were dropped, and which were salvaged. H × W is the size of the `form`, or
    less (see `stored_size`). Raises `UserError` for a bad image, unless it is labelled and
    `on_bad_image` is "drop" or "salvage". The latter takes what can be decoded of any image.
    """
    manifest = read_manifest(extracted)
    labelled = labelled_images(manifest, labels)
    test = sorted(listed_test_images(manifest, test_ids), key=lambda image: natural_key(image.id))
    images = [*labelled, *test]
    sources: Sequence[ImageSource]
    if archives is None:
        location = f"{extracted}/"
        sources = extracted_images(extracted, images)
    else:
        location = f"{archives[1]}: "
        sources = archived_images(*archives, manifest, images)
    target = find_target(form, sources, len(images), workers)
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_write(folder / f"{name}.npy")) for name in ARRAYS]
        counts = dict(zip(paths, (len(labelled), len(test)), strict=True))
        decoded = write_arrays(
            sources,
            counts,
            target,
            workers,
            salvage=on_bad_image == "salvage",
            file_bytes=sum(image.size for image in images),
        )
        if decoded.problems:
            refuse_bad(images, decoded.problems, len(labelled), on_bad_image, location)
            remove_rows(paths[0], decoded.problems)
    log_sizes(decoded, target)
    kept = [image for row, image in enumerate(labelled) if row not in decoded.problems]
    for name, rows in zip(ARRAYS, (kept, test), strict=True):
        table = ((row, image.id, image.label) for row, image in enumerate(rows))
        write_rows(folder / f"{name}.csv", PACKED_COLUMNS, table)
    report = report_of(decoded, images, len(labelled))
    text = json.dumps(report, indent=2, ensure_ascii=False, sort_keys=True)
    write_text(folder / "decoded.json", text + "\n")
    write_channels(folder / "channels.json", channels_from_histogram(decoded.histogram))


def find_target(
    form: ImageForm, sources: Sequence[ImageSource], images: int, workers: int
) -> Target:
    """Return the size at which the sources' images are stored, looking at them if need be."""
    wanted = (form.height, form.width)
    if form.own_size is not None:
        height, width = stored_size([form.own_size], wanted, form.fit)
        return Target(height, width, form.fit, form.own_size)
    first = (
        size for source in sources for _, content in source.read() for size in [read_size(content)]
    )
    tried = [size for size in islice(first, IMAGES_TO_TRY) if size is not None]
    size = stored_size(tried, wanted, form.fit)
    if images > IMAGES_TO_TRY and (size != wanted or not tried):
        size = stored_size(read_sizes(sources, images, workers), wanted, form.fit)
    return Target(*size, form.fit)


def log_sizes(decoded: Decoded, target: Target) -> None:
    """Say how images that are not stored as they are get stored."""
    sizes = sorted(
        {(int(w), int(h)) for _, name in decoded.formats for w, h in [SIZE.findall(name)[-1]]},
        key=lambda size: (size[0] * size[1], size),
    )
    if sizes in ([], [target.size]):
        return
    smallest, largest = ("×".join(map(str, size)) for size in (sizes[0], sizes[-1]))
    images = (
        f"images of {len(sizes):,} sizes ({smallest}–{largest})"
        if len(sizes) > 1
        else f"images of {largest}"
    )
    logger.info("%s are stored at %d×%d (%s)", images, *target.size, target.fit)


def report_of(decoded: Decoded, images: Sequence[Image], labelled: int) -> dict[str, object]:
    """Return the content of decoded.json. The first `labelled` of the `images` are labelled."""
    report: dict[str, object] = {}
    for index, name in enumerate(ARRAYS):

        def listed(problems: Mapping[int, str], is_test: int = index) -> list[dict[str, str]]:
            rows = sorted(row for row in problems if (row >= labelled) == bool(is_test))
            return [{"image": images[row].path, "problem": problems[row]} for row in rows]

        report[name] = {
            "formats": {f: count for (i, f), count in decoded.formats.items() if i == index},
            "undecodable": listed(decoded.problems),
            "salvaged": listed(decoded.salvaged),
        }
    return report


def extracted_images(folder: Path, images: Sequence[Image]) -> list[ExtractedImages]:
    """Return all images, from the files in `folder`."""
    sources: list[ExtractedImages] = []
    first = size = 0
    for end, image in enumerate(images, start=1):
        size += image.size
        if end - first == IMAGES_PER_SOURCE or size >= BYTES_PER_SOURCE or end == len(images):
            some = images[first:end]
            paths, sizes = [image.path for image in some], [image.size for image in some]
            sources.append(ExtractedImages(folder, first, paths, sizes))
            first, size = end, 0
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
    refused = [row for row in bad if row >= labelled or on_bad_image == "error"]
    if refused:
        others = f" ({len(refused) - 1:,} more are bad, too)" if len(refused) > 1 else ""
        row = refused[0]
        raise UserError(f"{location}{images[row].path}: {problems[row]}{others}")
    if len(bad) == labelled:
        raise UserError(
            f"{location}{images[bad[0]].path}: cannot be decoded, and no other labelled image can; "
            "look at the archive"
        )
