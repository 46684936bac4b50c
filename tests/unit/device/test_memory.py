"""Memory: what is freed is kept; of a full one, which batch size fits, and how the user is told."""

import ctypes
import subprocess
import sys

import pytest
import torch

from imagepipe.device.memory import full_memory_message, largest_that_fits, memory_is_full

# Prints how many pages the system hands out for twenty blocks of 10 MiB, after five times as many
# have come and gone.
PAGES = """
import ctypes, resource, sys
from imagepipe.device.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
library, size = ctypes.CDLL(None), 10 * 2**20
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [library.malloc(size) for _ in range(20)]
    for block in blocks:
        library.memset(block, 1, size)
    for block in blocks:
        library.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_freed_memory_is_handed_out_again() -> None:
    pages = {}
    for how in ("given back", "kept"):
        command = [sys.executable, "-c", PAGES, how]
        paths = {"PYTHONPATH": ":".join(sys.path)}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=paths)
        pages[how] = int(run.stdout)
    assert pages["given back"] > 10 * (1 + pages["kept"])


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_a_full_memory_is_told_from_other_errors(error: RuntimeError, full: bool) -> None:
    assert memory_is_full(error) == full


def test_pytorchs_own_error_of_the_cpu_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    assert memory_is_full(raised.value)


@pytest.mark.parametrize(("room", "expected"), [(100, 64), (64, 64), (63, 32), (1, 1), (0, None)])
def test_the_batch_size_is_halved_until_it_fits(room: int, expected: int | None) -> None:
    def attempt(size: int) -> None:
        if size > room:
            raise torch.OutOfMemoryError("out of memory")

    assert largest_that_fits(attempt, 128) == expected


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    def attempt(_: int) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        largest_that_fits(attempt, 128)


def test_the_message_names_what_to_set() -> None:
    key = "override='{{batch_size: {}}}'"
    message = full_memory_message("cuda (NVIDIA H100)", key, 512, 128)
    assert message == (
        "the memory of cuda (NVIDIA H100) is full at a batch size of 512; 128 fits: set "
        "override='{batch_size: 128}'"
    )
    assert "every smaller one" in full_memory_message("mps", key, 512, None)
