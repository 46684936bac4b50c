"""Many names in little memory, and ways to compare them that need no object for each."""

import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

TEXTS_PER_CHUNK = 1_000


class Texts:
    """Texts that are read one after the other, and compressed until then.

    A file's name takes some five bytes here, and seventy as an object. No text may hold a NUL.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._compressed: list[bytes] = []
        self._last: list[str] = []
        self.extend(texts)

    def append(self, text: str) -> None:
        self._last.append(text)
        if len(self._last) == TEXTS_PER_CHUNK:
            # Names of files may hold surrogates, until they have been checked.
            joined = "\0".join(self._last).encode("utf-8", "surrogatepass")
            self._compressed.append(zlib.compress(joined, 1))
            self._last = []

    def extend(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.append(text)

    def __len__(self) -> int:
        return TEXTS_PER_CHUNK * len(self._compressed) + len(self._last)

    def __iter__(self) -> Iterator[str]:
        for chunk in self._compressed:
            yield from zlib.decompress(chunk).decode("utf-8", "surrogatepass").split("\0")
        yield from self._last


def sorted_hashes(texts: Iterable[str], count: int = -1) -> np.ndarray:
    """Return Python's hashes of texts in rising order, int64 [N]; `count` is N, where it is known.

    They are the same for the same text within this process only.
    """
    hashes = np.fromiter(map(hash, texts), np.int64, count)
    hashes.sort()
    return hashes


def first_repeated(texts: Callable[[], Iterable[str]], count: int) -> int | None:
    """Return the position of the first text that has been there before, or None.

    `texts` is called for the `count` texts, more than once if there seems to be such a one. 8 bytes
    a text are held in memory.
    """
    hashes = sorted_hashes(texts(), count)
    suspected = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    seen: set[str] = set()
    for position, text in enumerate(texts() if suspected else ()):
        if hash(text) in suspected:
            if text in seen:
                return position
            seen.add(text)
    return None
