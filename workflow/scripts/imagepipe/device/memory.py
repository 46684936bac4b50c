"""Memory: keeping a CPU's between steps, and finding a batch size that fits."""

import ctypes
from collections.abc import Callable

import torch

# In PyTorch's messages for GPUs, and for the CPU.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")

# From glibc's malloc.h, with the largest value that mallopt(3) takes for each.
M_TRIM_THRESHOLD, MAX_TRIM_THRESHOLD = -1, 2**31 - 1
M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD = -3, 2**25


def keep_freed_memory() -> None:
    """Have glibc reuse freed blocks of up to 32 MiB; other C libraries stay as they are.

    By default, most of what a step frees goes back to the system, which clears it page by page for
    the next step. With large batches on a CPU, that takes an eighth of a training's time, and a
    sixth of a prediction's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, MAX_TRIM_THRESHOLD)
        mallopt(M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD)


def memory_is_full(error: Exception) -> bool:
    """Say whether an error of PyTorch means that the device's memory is full."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in OUT_OF_MEMORY
    )


def largest_that_fits(attempt: Callable[[int], object], batch_size: int) -> int | None:
    """Return the first of batch_size/2, batch_size/4, … for which `attempt` has enough memory.

    Do not call it in an `except` block, where the error still holds the failed attempt's tensors.
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
    """Return the error message for a full memory.

    key: what the user sets, with {} for the batch size. fits: the batch size that fits, if any.
    """
    problem = f"the memory of {device} is full at a batch size of {batch_size}"
    if fits is None:
        return f"{problem}, and at every smaller one; use another device, or a smaller model"
    return f"{problem}; {fits} fits: set {key.format(fits)}"
