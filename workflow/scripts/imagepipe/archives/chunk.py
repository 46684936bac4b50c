"""Chunks: some files of an archive each, to be read in any process."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagepipe.archives.safety import check_size, damage_in_one_line

# Says whether a file is to be read, by its name in the archive.
Wanted = Callable[[str], bool]

# Files of a chunk, where the archive itself does not say how it can be divided. Each chunk reads
# the archive's listing anew.
FEWEST_PER_CHUNK, MOST_PER_CHUNK = 500, 10_000
USUAL_CHUNKS = 32


@dataclass(frozen=True)
class Chunk(ABC):
    """Some files of an archive or a folder, in its order.

    Names have "/" between folders, and are in Unicode's NFC. Sizes, in bytes, and checksums,
    CRC-32, are None where only reading can tell them.
    """

    archive: Path
    names: list[str]
    sizes: Sequence[int | None]
    checksums: Sequence[int | None]

    @abstractmethod
    def contents(self) -> Iterator[bytes]:
        """Yield the content of each file, not yet compared with its size and checksum."""

    def pieces(self) -> Iterator[Iterator[bytes]]:
        """Yield the content of each file, in pieces, which must be taken before the next file."""
        return (iter((content,)) for content in self.contents())

    def read(self) -> Iterator[tuple[bytes, int]]:
        """Yield the content and the CRC-32 of each file.

        Raises `UserError` if the archive is damaged, or says another size or checksum, and for a
        file that is too large for the memory.
        """
        for name, size in zip(self.names, self.sizes, strict=True):
            check_size(self.archive, name, size)
        with damage_in_one_line(self.archive):
            files = zip(self.names, self.sizes, self.checksums, self.contents(), strict=True)
            for name, size, checksum, content in files:
                found = zlib.crc32(content)
                check_content(name, size, checksum, len(content), found)
                yield content, found


def slices(count: int) -> Iterator[slice]:
    """Yield slices that divide some files into chunks for several processes."""
    size = min(max(count // USUAL_CHUNKS, FEWEST_PER_CHUNK), MOST_PER_CHUNK)
    for start in range(0, count, size):
        yield slice(start, start + size)


def check_content(
    name: str, size: int | None, checksum: int | None, found_size: int, found_checksum: int
) -> None:
    """Raise `ValueError` for a file of another size or checksum than the archive says."""
    if size not in (None, found_size) or checksum not in (None, found_checksum):
        raise ValueError(f"member {name!r} is not what the archive says")


class Listing(ABC):
    """The files in an archive or a folder, after the checks of their names and kinds.

    `names` are all files, junk included, in the archive's order; `sizes` are in bytes. `folders`
    are those that the archive lists, which may be empty; their names are not checked.
    """

    def __init__(
        self,
        archive: Path,
        names: Sequence[str],
        sizes: Sequence[int],
        folders: Sequence[str] = (),
    ) -> None:
        self.archive, self.names, self.sizes, self.folders = archive, names, sizes, folders

    @abstractmethod
    def chunks(self, wanted: Wanted) -> Iterator[Chunk]:
        """Yield the wanted files."""
