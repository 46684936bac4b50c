"""Reading the files of archives and folders of any kind."""

from collections.abc import Iterator
from pathlib import Path

from imagepipe.archives.chunk import Chunk, Wanted
from imagepipe.archives.folder import folder_chunks
from imagepipe.archives.safety import damage_in_one_line
from imagepipe.archives.seven_zip import seven_zip_chunks
from imagepipe.archives.tar import tar_chunk
from imagepipe.archives.zip import zip_chunks
from imagepipe.errors import UserError

SUFFIXES = (".7z", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive of a kind that can be read."""
    return name.lower().endswith(SUFFIXES)


def open_archive(source: Path, wanted: Wanted) -> list[Chunk]:
    """Return the files of an archive, or of a folder, whose name is `wanted`, in chunks.

    Raises `UserError` if the source is missing, damaged or encrypted; if one of its members, wanted
    or not, is a link or a device, is there twice, or has a name that leads out of the folder; and
    if it would unpack to far more than its own size.
    """
    if source.is_dir():
        return list(folder_chunks(source, wanted))
    if not source.is_file():
        raise UserError(f"{source}: the archive does not exist; get it, or correct its name")
    name = source.name.lower()
    with damage_in_one_line(source):
        if name.endswith(".7z"):
            return list(seven_zip_chunks(source, wanted))
        if name.endswith(".zip"):
            return list(zip_chunks(source, wanted))
        return [tar_chunk(source, wanted)]


def read_archive(archive: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file in an archive whose name is `wanted`.

    Raises `UserError` as `open_archive` does, and where reading finds damage.
    """
    for chunk in open_archive(archive, wanted):
        for name, (content, _) in zip(chunk.names, chunk.read(), strict=True):
            yield name, content
