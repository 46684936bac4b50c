"""Reading the files of archives and folders of any kind."""

import re
from collections.abc import Iterator
from pathlib import Path

from imagepipe.archives.chunk import Chunk, Listing, Wanted
from imagepipe.archives.folder import FolderListing
from imagepipe.archives.safety import damage_in_one_line
from imagepipe.archives.seven_zip import SevenZipListing
from imagepipe.archives.tar import TarListing
from imagepipe.archives.zip import ZipListing
from imagepipe.errors import UserError

TAR_SUFFIXES = (
    ".tar",
    *(f".tar.{kind}" for kind in ("gz", "xz", "bz2", "zst")),
    *(".tgz", ".txz", ".tbz2", ".tbz", ".tzst"),
)
SUFFIXES = (".7z", ".zip", *TAR_SUFFIXES)
PART = re.compile(r"(.+)\.([0-9]{3,})")


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive of a kind that can be read."""
    return name.lower().endswith(SUFFIXES)


def part_of(name: str) -> tuple[str, int] | None:
    """Return an archive's name and the number of a part of it, such as of "train.zip.001"."""
    match = PART.fullmatch(name)
    return (match[1], int(match[2])) if match and is_archive(match[1]) else None


def list_archive(source: Path) -> Listing:
    """Return the files in an archive or a folder.

    Raises `UserError` if the source is missing, damaged or encrypted; and if one of its members is
    there twice, or has a name that leads out of the folder.
    """
    if source.is_dir():
        return FolderListing(source)
    if not source.is_file():
        raise UserError(f"{source}: the archive does not exist; get it, or correct its name")
    name = source.name.lower()
    with damage_in_one_line(source):
        if name.endswith(".7z"):
            return SevenZipListing(source)
        return ZipListing(source) if name.endswith(".zip") else TarListing(source)


def chunks_of(listing: Listing, wanted: Wanted) -> list[Chunk]:
    """Return the files in a listing whose name is `wanted`, in chunks.

    Raises `UserError` if they are encrypted, compressed by a method that cannot be read, or would
    unpack to far more than the archive's size; and if one is a device or a link, other than a hard
    link in a .tar archive to a file before it.
    """
    with damage_in_one_line(listing.archive):
        return list(listing.chunks(wanted))


def open_archive(source: Path, wanted: Wanted) -> list[Chunk]:
    """Return the files of an archive, or of a folder, whose name is `wanted`, in chunks.

    Raises `UserError` as `list_archive` and `chunks_of` do.
    """
    return chunks_of(list_archive(source), wanted)


def read_archive(archive: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file in an archive whose name is `wanted`.

    Raises `UserError` as `open_archive` does, and where reading finds damage.
    """
    for chunk in open_archive(archive, wanted):
        for name, (content, _) in zip(chunk.names, chunk.read(), strict=True):
            yield name, content
