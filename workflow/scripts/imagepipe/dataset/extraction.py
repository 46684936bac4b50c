"""From a dataset's archives to a list of its images, and to flat folders of them."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from imagepipe.archives.toronto import write_tables
from imagepipe.dataset.image_sources import PlacedPart, find_images, find_tables, sources_of
from imagepipe.dataset.manifests import MANIFEST_COLUMNS, SPLITS
from imagepipe.errors import UserError
from imagepipe.files import atomic_write, check_room, natural_key, write_new
from imagepipe.parallel import Advance, run_tasks
from imagepipe.sorted_lines import sorted_lines

FILES_BETWEEN_ADVANCES = 100
# Starting a process takes as long as unpacking this many files.
FILES_PER_PROCESS = 2_000


@dataclass(frozen=True)
class Contents:
    """The sizes in bytes and the CRC-32s of a part's files, in its order."""

    sizes: "array[int]" = field(default_factory=lambda: array("I"))
    checksums: "array[int]" = field(default_factory=lambda: array("I"))


def extract(
    dataset: dict[str, Any], raw: Path, folder: Path, layout: str = "folders", workers: int = 1
) -> None:
    """Unpack the images in the dataset's files in `raw` into `folder`/train and `folder`/test.

    With the layout "packed", the images are listed, but not unpacked. `folder`/manifest.tsv gets a
    row for each image: its path below `folder`, its size in bytes, the CRC-32 of its content, and
    its number in the order of the archives. Raises `UserError` for what cannot be read or trusted
    (see `image_sources.find_images`), and where the disk has no room.
    """
    parts = find_images(dataset, raw)
    if layout == "folders":
        check_room(folder, sum(part.size() for part in parts))
        for split in SPLITS:
            (folder / split).mkdir(parents=True, exist_ok=True)
        # The largest first, so that no process is left with one when the others are done.
        order = sorted(range(len(parts)), key=lambda number: parts[number].size(), reverse=True)
        unpacked = run_tasks(
            partial(unpack, folder),
            [parts[number] for number in order],
            workers,
            total=sum(len(part.part.names) for part in parts),
            description="unpack",
            unit="images",
            units_per_process=FILES_PER_PROCESS,
        )
        contents = [one for _, one in sorted(zip(order, unpacked, strict=True))]
    else:
        contents = [look_into(part) for part in parts]
    write_manifest(folder, parts, contents)


def extract_tables(dataset: dict[str, Any], raw: Path, tables: Mapping[str, Path]) -> None:
    """Copy the CSV files that lie beside the dataset's archives in `raw`, or inside of one.

    `tables` says where each goes, by its name. Raises `UserError` for a table that is nowhere, or
    twice.
    """
    beside = {file["name"] for file in dataset["files"]} & tables.keys()
    for name in beside:
        _write(tables[name], (raw / name).read_bytes())
    inside = {name: path for name, path in tables.items() if name not in beside}
    if inside and dataset["archive_format"] == "cifar_python":
        for source in sources_of(dataset, raw):
            write_tables(source, dataset["image_size"], inside)
    elif inside:
        for part in find_tables(dataset, raw, inside):
            for name, content, _ in part.read():
                _write(inside[name], content)
    for name, target in tables.items():
        if not target.is_file():
            raise UserError(
                f"{raw}: holds no {name}, beside the archives or inside of one; get the files again"
            )


def unpack(folder: Path, part: PlacedPart, advance: Advance) -> Contents | None:
    """Write the files of a part to their places, and return what is not `listed` of them."""
    is_listed = listed(part) is not None
    contents = Contents()
    for number, (place, content, checksum) in enumerate(part.read(), start=1):
        write_new(f"{folder}/{place}", content)
        if not is_listed:
            contents.sizes.append(len(content))
            contents.checksums.append(checksum)
        if number % FILES_BETWEEN_ADVANCES == 0:
            advance(FILES_BETWEEN_ADVANCES)
    return None if is_listed else contents


def look_into(part: PlacedPart) -> Contents | None:
    """Read a part's files if not all is `listed` of them, and return it."""
    if listed(part) is not None:
        return None
    contents = Contents()
    for _, content, checksum in part.read():
        contents.sizes.append(len(content))
        contents.checksums.append(checksum)
    return contents


def listed(part: PlacedPart) -> Contents | None:
    """Return what the archive itself says of a part's files, if it does of all."""
    sizes, checksums = part.part.sizes, part.part.checksums
    if None in sizes or None in checksums:
        return None
    return Contents(cast("array[int]", sizes), cast("array[int]", checksums))


def write_manifest(
    folder: Path, parts: Sequence[PlacedPart], contents: Sequence[Contents | None]
) -> None:
    """Write `folder`/manifest.tsv, train before test, each in natural order.

    There are no `contents` of a part whose files the archive lists.
    """
    with (
        atomic_write(folder / "manifest.tsv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write("\t".join(MANIFEST_COLUMNS) + "\n")
        lines = sorted_lines(manifest_lines(parts, contents), folder)
        file.writelines(line.split("\t", 2)[2] for line in lines)


def manifest_lines(
    parts: Sequence[PlacedPart], contents: Sequence[Contents | None]
) -> Iterator[str]:
    """Yield a line for each image: two fields to sort it by, and those of the manifest.

    All of it is text that can be printed, so it takes no more than what csv does for a quote.
    """
    number = 0
    for part, read in zip(parts, contents, strict=True):
        one = read or listed(part)
        assert one is not None  # or the part would have been read
        for place, size, crc in zip(part.places(), one.sizes, one.checksums, strict=True):
            split, _, name = place.rpartition("/")
            order = SPLITS.index(split)
            path = place if '"' not in place else '"' + place.replace('"', '""') + '"'
            yield f"{order}\t{natural_key(name)}\t{path}\t{size}\t{crc:08x}\t{number}\n"
            number += 1


def _write(target: Path, content: bytes) -> None:
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
