"""Many names in little memory, and ways to compare them that need no object for each."""

import mmap
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

TEXTS_PER_CHUNK = 1_000
HASHES_AT_ONCE = 10_000


class Texts:
    """Texts that are read one after the other, and compressed until then.

    A file's name takes two to five bytes here, and seventy as an object. No text may hold a NUL.
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
            yield from _texts_of(chunk)
        yield from self._last

    def drain(self) -> Iterator[str]:
        """Yield the texts, and give back the memory of each thousand before the next."""
        self._compressed.reverse()
        while self._compressed:
            yield from _texts_of(self._compressed.pop())
        yield from self._last
        self._last = []


def _texts_of(chunk: bytes) -> list[str]:
    return zlib.decompress(chunk).decode("utf-8", "surrogatepass").split("\0")


def sorted_hashes(texts: Iterable[str], count: int) -> np.ndarray:
    """Return Python's hashes of `count` texts in rising order, int64 [count].

    They are the same for the same text within this process only.
    """
    # Not from the heap, which does not give back the place of a large array that is gone.
    hashes = np.frombuffer(mmap.mmap(-1, max(8 * count, 1)), np.int64, count)
    remaining = map(hash, texts)
    for start in range(0, count, HASHES_AT_ONCE):
        some = np.fromiter(islice(remaining, HASHES_AT_ONCE), np.int64)
        hashes[start : start + HASHES_AT_ONCE] = some
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
