"""Reading the files of a user's own folder as if it were an archive."""

from collections.abc import Iterator
from pathlib import Path

from imagepipe.archives.chunk import FILES_PER_CHUNK, Chunk, Wanted
from imagepipe.archives.safety import LARGEST_FILE, check_names
from imagepipe.errors import UserError


class FolderChunk(Chunk):
    """Files of a folder."""

    def contents(self) -> Iterator[bytes]:
        for name, size in zip(self.names, self.sizes, strict=True):
            file = self.archive / name
            try:
                content = file.read_bytes()
            except FileNotFoundError:
                content = None
            if content is None or len(content) != size:
                raise UserError(f"{file}: has changed while it was read; run again")
            yield content


def folder_chunks(folder: Path, wanted: Wanted) -> Iterator[FolderChunk]:
    """Yield the wanted files of a folder, sorted by name. Links are followed."""
    found = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    check_names(folder, names)
    kept = list(filter(wanted, names))
    for start in range(0, len(kept), FILES_PER_CHUNK):
        some = kept[start : start + FILES_PER_CHUNK]
        sizes = [(folder / name).stat().st_size for name in some]
        for name, size in zip(some, sizes, strict=True):
            if size > LARGEST_FILE:
                raise UserError(
                    f"{folder / name}: has {size:,} bytes; it is no image, so remove it"
                )
        yield FolderChunk(folder, some, sizes, [None] * len(some))
