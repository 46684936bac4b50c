"""From a dataset's archives to a list of its images, and to flat folders of them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from imagepipe.archives.toronto import write_tables
from imagepipe.archives.unpacking import archives_in
from imagepipe.config.dataset import Contents
from imagepipe.dataset.image_sources import FoundFiles, find_images
from imagepipe.dataset.manifests import FOLDERS, MANIFEST_COLUMNS
from imagepipe.dataset.table_files import table_files
from imagepipe.files import atomic_copy, check_room, natural_key, write_new, write_rows
from imagepipe.parallel import Advance, run_tasks

FILES_BETWEEN_ADVANCES = 100
# Starting a process takes as long as unpacking this many files.
FILES_PER_PROCESS = 2_000

# Of some files: sizes in bytes, and CRC-32s, None where only reading can tell them.
Sizes = tuple[Sequence[int | None], Sequence[int | None]]


def extract(
    contents: Contents, raw: Path, folder: Path, layout: str = "folders", workers: int = 1
) -> None:
    """Unpack the images in the dataset's files in `raw` into `folder`/train and `folder`/test.

    With the layout "packed", the images are listed, but not unpacked. `folder`/manifest.tsv gets a
    row for each image: its path below `folder`, its size in bytes, the CRC-32 of its content, and
    its number in the order of the archives. Raises `UserError` for what cannot be read or trusted
    (see `find_images`), and where the disk has no room.
    """
    target = folder if layout == "folders" else None
    found = find_images(contents, raw, to_be_written=target is not None)
    if target is not None:
        check_room(folder, sum(files.size() for files in found))
        for name in FOLDERS:
            (folder / name).mkdir(parents=True, exist_ok=True)
    # Without a target, only what the archives themselves do not list is read. The largest first, so
    # that no process is left with one when the others are done.
    order = [n for n, files in enumerate(found) if target or None in files.chunk.checksums]
    order.sort(key=lambda n: found[n].size(), reverse=True)
    read = run_tasks(
        partial(unpack, target),
        [found[n] for n in order],
        workers,
        total=sum(len(found[n].paths) for n in order),
        description="unpack",
        unit="images",
        units_per_process=FILES_PER_PROCESS,
    )
    listed: list[Sizes] = [(files.chunk.sizes, files.chunk.checksums) for files in found]
    for n, result in zip(order, read, strict=True):
        listed[n] = result
    write_manifest(folder, found, listed)


def unpack(target: Path | None, files: FoundFiles, advance: Advance) -> Sizes:
    """Read files, write them below the target if there is one, and return what they are."""
    sizes: list[int] = []
    checksums: list[int] = []
    folders = set(FOLDERS)
    for path, (content, checksum) in zip(files.paths, files.chunk.read(), strict=True):
        if target is not None:
            folder = path.rpartition("/")[0]
            if folder not in folders:
                (target / folder).mkdir(parents=True, exist_ok=True)
                folders.add(folder)
            write_new(f"{target}/{path}", content)
        sizes.append(len(content))
        checksums.append(checksum)
        if len(sizes) % FILES_BETWEEN_ADVANCES == 0:
            advance(FILES_BETWEEN_ADVANCES)
    return sizes, checksums


def write_manifest(folder: Path, found: Sequence[FoundFiles], listed: Sequence[Sizes]) -> None:
    """Write `folder`/manifest.tsv, training before test images, each in natural order."""
    images: list[tuple[str, str, int | None, str, int]] = []
    for files, (sizes, checksums) in zip(found, listed, strict=True):
        for path, size, checksum in zip(files.paths, sizes, checksums, strict=True):
            split, _, name = path.partition("/")
            key = f"{FOLDERS.index(split)}{natural_key(name)}"
            images.append((key, path, size, f"{checksum:08x}", len(images)))
    rows = (image[1:] for image in sorted(images))
    write_rows(folder / "manifest.tsv", MANIFEST_COLUMNS, rows, delimiter="\t")


def extract_tables(contents: Contents, raw: Path, tables: Mapping[str, Path]) -> None:
    """Copy the tables that lie beside the dataset's archives in `raw`, or inside of one.

    `tables` maps a table's name to its target. Raises `UserError` as `table_files` does.
    """
    if contents.archive_format == "cifar_python":
        beside = {file.name for file in contents.files}
        height, width = contents.image_size or (32, 32)
        inside = {name: path for name, path in tables.items() if name not in beside}
        for archive in archives_in(contents, raw) if inside else ():
            write_tables(archive, (height, width), inside)
        written = {name for name, path in inside.items() if path.is_file()}
        tables = {name: path for name, path in tables.items() if name not in written}
    for name, file in table_files(contents, raw, tables).items():
        atomic_copy(file, tables[name])
