"""Reading the files of a user's own folder as if it were an archive."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagepipe.archives.chunk import Chunk, Listing, Wanted, slices
from imagepipe.archives.safety import check_names
from imagepipe.errors import UserError
from imagepipe.files import files_below, nfc


@dataclass(frozen=True)
class FolderChunk(Chunk):
    """Files of a folder, whose paths there may be in another Unicode form than the names."""

    paths: list[str]

    def contents(self) -> Iterator[bytes]:
        for path, size in zip(self.paths, self.sizes, strict=True):
            file = self.archive / path
            try:
                content = file.read_bytes()
            except FileNotFoundError:
                content = None
            if content is None or len(content) != size:
                raise UserError(f"{file}: has changed while it was read; run again")
            yield content


class FolderListing(Listing):
    """The files in a folder, sorted by path. Links are followed, and junk is passed over."""

    def __init__(self, folder: Path, paths: Sequence[str] | None = None) -> None:
        self.paths = files_below(folder) if paths is None else paths
        sizes = [(folder / path).stat().st_size for path in self.paths]
        super().__init__(folder, list(map(nfc, self.paths)), sizes)
        check_names(folder, self.names)

    def chunks(self, wanted: Wanted) -> Iterator[FolderChunk]:
        files = zip(self.names, self.sizes, self.paths, strict=True)
        kept = [file for file in files if wanted(file[0])]
        for some in (kept[rows] for rows in slices(len(kept))):
            names, sizes, paths = [f[0] for f in some], [f[1] for f in some], [f[2] for f in some]
            yield FolderChunk(self.archive, names, sizes, [None] * len(some), paths)
