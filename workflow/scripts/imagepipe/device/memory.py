"""Memory: a CPU's is kept for what comes next; and if a batch does not fit, which one does."""

import ctypes
from collections.abc import Callable

import torch

# PyTorch's own words, for a GPU and for the CPU.
FULL = ("out of memory", "can't allocate memory")

# Of glibc's malloc.h, and the most that mallopt(3) takes for each.
M_TRIM_THRESHOLD, MOST_KEPT = -1, 2**31 - 1
M_MMAP_THRESHOLD, LARGEST_KEPT = -3, 2**25


def keep_freed_memory() -> None:
    """Have glibc keep what this process frees, and hand it out again: blocks up to 32 MiB.

    By default most of what a step frees goes back to the system, which fills it with zeros, page by
    page, when the next step asks for as much. With large batches on a CPU it is an eighth of a
    training's time, and a sixth of a prediction's. Another C library is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)


def memory_is_full(error: Exception) -> bool:
    """Say whether PyTorch raised an error because it could not get the memory that it wanted."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in FULL)


def largest_that_fits(attempt: Callable[[int], object], batch_size: int) -> int | None:
    """Return the first of batch_size/2, batch_size/4, … with which `attempt` has enough memory.

    Call it when nothing refers to the tensors of the attempt that failed: not in its `except`.
    """
    while batch_size > 1:
        batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(batch_size)
            return batch_size
        except RuntimeError as error:
            if not memory_is_full(error):
                raise
    return None


def full_memory_message(device: str, key: str, batch_size: int, fits: int | None) -> str:
    """Return the line that tells a user of a full memory, and what to set instead."""
    problem = f"the memory of {device} is full at a batch size of {batch_size}"
    if fits is None:
        return f"{problem}, and at every smaller one; use another device, or a smaller model"
    return f"{problem}; {fits} fits: set {key.format(fits)}"
