"""Chunks: some files of an archive each, to be read in any process."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagepipe.archives.safety import damage_in_one_line

# Says whether a file is to be read, by its name in the archive.
Wanted = Callable[[str], bool]

# Files of a chunk, where the archive itself does not say how it can be divided.
FILES_PER_CHUNK = 10_000


@dataclass(frozen=True)
class Chunk(ABC):
    """Some files of an archive or a folder, in its order.

    Names have "/" between folders. Sizes, in bytes, and checksums, CRC-32, are None where only
    reading can tell them.
    """

    archive: Path
    names: list[str]
    sizes: Sequence[int | None]
    checksums: Sequence[int | None]

    @abstractmethod
    def contents(self) -> Iterator[bytes]:
        """Yield the content of each file, not yet compared with its size and checksum."""

    def read(self) -> Iterator[tuple[bytes, int]]:
        """Yield the content and the CRC-32 of each file.

        Raises `UserError` if the archive is damaged, or says another size or checksum.
        """
        with damage_in_one_line(self.archive):
            files = zip(self.names, self.sizes, self.checksums, self.contents(), strict=True)
            for name, size, checksum, content in files:
                found = zlib.crc32(content)
                if size not in (None, len(content)) or checksum not in (None, found):
                    raise ValueError(f"member {name!r} is not what the archive says")
                yield content, found
