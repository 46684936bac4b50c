"""Files of archives that other readers need as files: archives in archives, parts, and tables.

They are unpacked once, when a job needs them, into a folder of the workflow beside its raw files,
where later jobs find them. An archive's files there lie in a folder that is named after the
archive, its size and its time.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from imagepipe.archives.chunk import Listing, check_content
from imagepipe.archives.locking import locked
from imagepipe.archives.reading import chunks_of, is_archive, list_archive, part_of
from imagepipe.archives.safety import damage_in_one_line, largest_total, refuse_bomb
from imagepipe.archives.zip import split_message
from imagepipe.config.dataset import Contents
from imagepipe.errors import UserError
from imagepipe.files import atomic_write, check_room, has_junk, is_image

# Below the folder of the raw files.
FOLDER = ".unpacked"
# Archives in archives in an archive are read, but none in these.
MOST_LEVELS = 3
PIECE_SIZE = 1 << 20
TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".json")
# Bytes of a file's name here. File systems allow 255, and more is written around some names.
LONGEST_NAME = 180


def folder_for(archive: Path, raw: Path, size: int | None = None) -> Path:
    """Return the folder for the files of an archive, which is in `raw` or in such a folder.

    `size` is that of all parts, if the archive is the first part of another.
    """
    if archive.is_relative_to(raw / FOLDER):
        return archive.with_name(f"{short(archive.name)}{FOLDER}")
    status = archive.stat()
    return raw / FOLDER / f"{short(archive.name)}-{size or status.st_size}-{status.st_mtime_ns}"


def short(name: str) -> str:
    """Return a file's name, or if it is very long, a hash of it with its end."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"{hashlib.sha256(name.encode()).hexdigest()[:32]}-{name[-30:]}"


def unpack(listing: Listing, names: Collection[str], raw: Path) -> dict[str, Path]:
    """Return the files that hold some members of an archive, after unpacking those that are not.

    Raises `UserError` if they cannot be read or trusted, or the disk has no room.
    """
    folder = folder_for(listing.archive, raw)
    targets = {name: folder.joinpath(*map(short, name.split("/"))) for name in names}
    if not all(target.is_file() for target in targets.values()):
        with locked(folder):  # the jobs extract and tables may run at the same time
            missing = {name: path for name, path in targets.items() if not path.is_file()}
            copy_members(listing, missing, room_left(folder, raw))
    return targets


def room_left(folder: Path, raw: Path) -> int:
    """Return the bytes that may still be unpacked from the outermost archive of a folder here.

    All that was unpacked from it and from archives inside of it counts: levels, and many archives
    side by side, would multiply what a few bytes may unpack to.
    """
    outermost = raw / FOLDER / folder.relative_to(raw / FOLDER).parts[0]
    used = 0
    for parent, _, names in os.walk(outermost):
        for name in names:
            with suppress(FileNotFoundError):  # another job's temporary file
                used += (Path(parent) / name).stat().st_size
    return largest_total(int(outermost.name.rsplit("-", 2)[1])) - used


def copy_members(listing: Listing, targets: Mapping[str, Path], largest: int | None = None) -> None:
    """Copy some members of an archive, which may be larger than the memory, each to its target.

    Raises `UserError` as `unpack` does, and for more than the `largest` number of bytes.
    """
    chunks = chunks_of(listing, lambda name: name in targets)
    total = sum(size or 0 for chunk in chunks for size in chunk.sizes)
    if largest is not None and total > largest:
        refuse_bomb(listing.archive)
    if targets:
        check_room(next(iter(targets.values())).parent, total)
    with damage_in_one_line(listing.archive):
        for chunk in chunks:
            files = zip(chunk.names, chunk.sizes, chunk.checksums, chunk.pieces(), strict=True)
            for name, size, checksum, pieces in files:
                with atomic_write(targets[name]) as temporary, temporary.open("wb") as target:
                    found = _write(pieces, target)
                    check_content(name, size, checksum, *found)


def _write(pieces: Iterator[bytes], target: BinaryIO) -> tuple[int, int]:
    """Write pieces, and return their size and CRC-32."""
    size = checksum = 0
    for piece in pieces:
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
        target.write(piece)
    return size, checksum


def unpack_gzip(source: Path, raw: Path) -> Path:
    """Return the file that a .gz file holds, after unpacking it if it is not.

    Raises `UserError` if it is damaged, or unpacks to far too much, or the disk has no room.
    """
    target = folder_for(source, raw) / short(source.name).removesuffix(".gz")
    if not target.is_file():
        with locked(target.parent), damage_in_one_line(source):
            if target.is_file():  # by a job at the same time
                return target
            limit = min(largest_total(source.stat().st_size), room_left(target.parent, raw))
            check_room(target.parent, min(size_in_gzip(source), limit))
            with (
                atomic_write(target) as temporary,
                temporary.open("wb") as output,
                gzip.open(source) as content,
            ):
                for piece in iter(partial(content.read, PIECE_SIZE), b""):
                    output.write(piece)
                    if output.tell() > limit:
                        refuse_bomb(source)
    return target


def size_in_gzip(source: Path) -> int:
    """Return the bytes that a .gz file says to unpack to, modulo 2³² (RFC 1952, ISIZE)."""
    with source.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")


@contextmanager
def noted(problems: list[UserError] | None) -> Iterator[None]:
    """Add an error in this block to the `problems`, or raise it if that is None."""
    try:
        yield
    except UserError as error:
        if problems is None:
            raise
        problems.append(error)


def whole_archives(
    names: Sequence[str], folder: Path, problems: list[UserError] | None = None
) -> dict[str, list[str]]:
    """Return, for each archive that some names are parts of, the parts' names in order.

    Raises `UserError` if a part is missing, or for parts that cannot be joined; with a list of
    `problems`, that gets the error instead. `folder` is where they are, for messages.
    """
    parts: dict[str, dict[int, str]] = {}
    for name in names:
        if name.lower().endswith(".z01"):
            with noted(problems):
                raise UserError(split_message(folder / name))
        if part := part_of(name):
            parts.setdefault(part[0], {})[part[1]] = name
    found: dict[str, list[str]] = {}
    for whole, numbered in parts.items():
        with noted(problems):
            # 7-Zip counts from 1, and `split -d` from 0.
            first = min(1, *numbered)
            for number in range(first, max(numbered) + 1):
                if number not in numbered:
                    raise UserError(
                        f"{folder}: part {number} of {whole} is missing ({whole}.{number:03}); get "
                        "it, and name it in the dataset file as well"
                    )
            found[whole] = [numbered[number] for number in sorted(numbered)]
    return found


def join(parts: Sequence[Path], whole: str, raw: Path) -> Path:
    """Return an archive that is joined from its parts, in `raw` or in a folder for unpacked files.

    Raises `UserError` if the disk has no room.
    """
    size = sum(part.stat().st_size for part in parts)
    target = folder_for(parts[0], raw, size) / short(whole)
    if target.is_file() and target.stat().st_size == size:
        return target
    with locked(target.parent):
        if target.is_file() and target.stat().st_size == size:  # by a job at the same time
            return target
        check_room(target.parent, size)
        with atomic_write(target) as temporary, temporary.open("wb") as output:
            for part in parts:
                with part.open("rb") as content:
                    _write(iter(partial(content.read, PIECE_SIZE), b""), output)
    return target


def archives_in(contents: Contents, raw: Path) -> list[Path]:
    """Return the archives among a dataset's files, joined where they come in parts."""
    names = [file.name for file in contents.files]
    archives = [raw / name for name in names if is_archive(name)]
    for whole, parts in whole_archives(names, raw).items():
        archives.append(join([raw / part for part in parts], whole, raw))
    return archives


def inner_archives(listing: Listing, with_tables: bool = False) -> list[str]:
    """Return the names of the archives in an archive, and of parts of such."""

    def holds_more(base: str) -> bool:
        return with_tables or not base.rpartition(".")[0].lower().endswith(TABLE_ENDINGS)

    return [
        name
        for name in usable(name for name in listing.names if not is_image(name))
        if (is_archive(name) or part_of(name) or name.lower().endswith(".z01")) and holds_more(name)
    ]


def usable(names: Iterable[str]) -> Iterator[str]:
    """Yield those names that are not junk."""
    return (name for name in names if not has_junk(name))


def open_inner(
    listing: Listing, names: Sequence[str], raw: Path, problems: list[UserError] | None = None
) -> Iterator[tuple[str, Listing]]:
    """Yield archives in an archive, each with its name there; parts of one as the whole.

    Raises `UserError` for one that cannot be read; with a list of `problems`, that gets the error
    instead.
    """
    whole = whole_archives(names, listing.archive, problems)
    alone = [name for name in names if not part_of(name)]
    paths = unpack(listing, [*alone, *(part for some in whole.values() for part in some)], raw)
    for name in (*alone, *whole):
        inner = None
        with noted(problems):
            path = paths.get(name)
            if path is None:
                base = name.rpartition("/")[2]
                path = join([paths[part] for part in whole[name]], base, raw)
            inner = list_archive(path)
        if inner is not None:
            yield name, inner
