"""New images: the files, folders, archives and lists of paths that a user names."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Protocol

from imagepipe.archives.chunk import Chunk, Listing
from imagepipe.archives.reading import chunks_of, is_archive, list_archive
from imagepipe.archives.unpacking import MOST_LEVELS, inner_archives, open_inner
from imagepipe.archives.zip import ZipChunk
from imagepipe.dataset.decoding import BadImage
from imagepipe.dataset.tables import parsed_rows, table_format
from imagepipe.errors import UserError
from imagepipe.files import files_below, has_junk, is_image, natural_key, without_ending

# Returns the content of an image's file, or raises `BadImage`.
Load = Callable[[], bytes]
# The rows of a list whose fields are tried, to find the column of paths.
ROWS_TO_TRY = 100


class NewImages(Protocol):
    """Some images, each with a name for people."""

    @property
    def names(self) -> Sequence[str]: ...

    def loads(self) -> Iterator[Load]:
        """Yield a function for each name, which any thread may call."""


@dataclass(frozen=True)
class ImageFiles:
    """Images in files of their own."""

    names: Sequence[str]
    paths: Sequence[Path]

    def loads(self) -> Iterator[Load]:
        for path in self.paths:
            yield partial(_read_file, path)


@dataclass(frozen=True)
class LoadedImages:
    """Images whose content lies somewhere else."""

    names: Sequence[str]
    functions: Sequence[Load]

    def loads(self) -> Iterator[Load]:
        yield from self.functions


@dataclass(frozen=True)
class ArchivedImages:
    """Images in a chunk of an archive, in its order.

    `path` is the archive's for people, which may lie in another one; `unpacked` is the folder that
    such archives are unpacked into. It is removed with the last reference to it.
    """

    chunk: Chunk
    path: str
    unpacked: TemporaryDirectory[str]

    @property
    def names(self) -> list[str]:
        return [f"{self.path}/{name}" for name in self.chunk.names]

    def loads(self) -> Iterator[Load]:
        """Damage to one file of a .zip archive is that image's alone; otherwise it ends there."""
        first, count = 0, len(self.chunk.names)
        while first < count:
            rest = {
                key: getattr(self.chunk, key)[first:] for key in ("names", "sizes", "checksums")
            }
            chunk = replace(self.chunk, **rest) if first else self.chunk
            try:
                for content, _ in chunk.read():
                    first += 1
                    yield partial(bytes, content)
            except UserError as error:
                problem = f"cannot be read ({error})"
                bad = 1 if isinstance(chunk, ZipChunk) else count - first
                yield from [partial(_refuse, problem)] * bad
                first += bad


def find_images(paths: Sequence[Path]) -> list[NewImages]:
    """Return the images of files, folders, archives and CSV files that list paths.

    Images of a folder, and of those in it, are in natural order of their paths; all others are in
    the order of the arguments, the archive or the list. A file that does not exist is found out
    when it is read. Raises `UserError` for a folder or an archive without images, and for a list
    without paths.
    """
    found: list[NewImages] = []
    for path in paths:
        if path.is_dir():
            names = [name for name in files_below(path) if is_image(name)]
            inside = [path / name for name in sorted(names, key=natural_path_key)]
            _require(path, len(inside))
            found.append(ImageFiles([str(file) for file in inside], inside))
        elif is_archive(path.name):
            unpacked = TemporaryDirectory(prefix="imagepipe-")
            archived = list(images_in_archive(list_archive(path), str(path), unpacked))
            _require(path, sum(len(images.names) for images in archived))
            found += archived
        elif path.suffix.lower() == ".csv":
            names, files = read_paths(path)
            found.append(ImageFiles(names, files))
        else:
            found.append(ImageFiles([str(path)], [path]))
    return found


def images_in_archive(
    listing: Listing, path: str, unpacked: TemporaryDirectory[str], level: int = 1
) -> Iterator[ArchivedImages]:
    """Yield the images in an archive, and those of archives inside of it."""
    for chunk in chunks_of(listing, lambda name: is_image(name) and not has_junk(name)):
        yield ArchivedImages(chunk, path, unpacked)
    inner = inner_archives(listing) if level < MOST_LEVELS else []
    if inner:
        for name, below in open_inner(listing, inner, Path(unpacked.name)):
            yield from images_in_archive(below, f"{path}/{name}", unpacked, level + 1)


def read_paths(table: Path) -> tuple[list[str], list[Path]]:
    """Return the paths in a CSV file, as they are written and as files.

    They are in the first column that has the path of a file, relative to the table's folder or to
    the working directory; a header is passed over. Raises `UserError` if no column has one.
    """
    csv_format = table_format(table, "utf-8")
    rows = [list(csv_format.header), *(row for _, row in parsed_rows(table, csv_format))]
    for column in range(len(rows[0])):
        fields = [row[column].strip() for row in rows if column < len(row)]
        first = next(
            (n for n, field in enumerate(fields[:ROWS_TO_TRY]) if _listed(table, field).is_file()),
            None,
        )
        if first is not None:
            # Of the first rows, only a header is no path.
            paths = [field for field in fields[min(first, 1) :] if field]
            return paths, [_listed(table, path) for path in paths]
    raise UserError(
        f"{table}: no column has paths of files, relative to {table.parent} or to the working "
        "directory; correct the paths"
    )


def _listed(table: Path, field: str) -> Path:
    beside = table.parent / field
    return beside if beside.is_file() else Path(field)


@contextmanager
def sorted_images(found: Sequence[NewImages], keys: dict[str, str]) -> Iterator[list[NewImages]]:
    """Give those images whose name is in `keys`, in natural order of their keys.

    Archives can only be read in their own order, so their images are copied to a temporary file,
    as they are.
    """
    with TemporaryFile() as spool:
        loads: dict[str, Load] = {}
        for images in found:
            for name, load in zip(images.names, images.loads(), strict=True):
                if name not in keys:
                    continue
                if isinstance(images, ArchivedImages):
                    try:
                        content = load()
                    except BadImage as problem:
                        load = partial(_refuse, problem.problem)
                    else:
                        load = partial(os.pread, spool.fileno(), len(content), spool.tell())
                        spool.write(content)
                loads[name] = load
        spool.flush()
        names = sorted(loads, key=lambda name: natural_key(keys[name]))
        yield [LoadedImages(names, [loads[name] for name in names])]


def natural_path_key(path: str) -> str:
    """Return a key that sorts paths in natural order, "a.png" before "a-1.png"."""
    return natural_key(without_ending(path)) + path


def _require(path: Path, images: int) -> None:
    if not images:
        raise UserError(f"{path}: has no images; correct the path")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be read ({error.strerror})", "correct the path") from None


def _refuse(problem: str) -> bytes:
    raise BadImage(problem, "get the archive again")
