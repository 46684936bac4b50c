"""Memory: what is freed is kept; of a full one, which batch size fits, and how the user is told."""

import ctypes
import subprocess
import sys

import pytest
import torch

from imagepipe.memory import full_memory_message, largest_that_fits, memory_is_full

# Prints how many pages the system hands out in the last two thirds of a training's steps.
PAGES_OF_STEPS = """
import resource, sys
import numpy as np, torch
from imagepipe import training_state
from imagepipe.training import try_steps
from training_builders import complete_recipe

if sys.argv[1] == "given back":
    training_state.keep_freed_memory = lambda: None
torch.set_num_threads(1)
images, rows = np.zeros((100, 32, 32, 3), np.uint8), np.arange(100)
data = training_state.TrainingData(
    images, rows % 10, rows, rows[:0], 10, [0.5] * 3, [0.25] * 3
)
recipe = complete_recipe(model={"name": "small_cnn", "width": 32}, batch_size=100)
pages = []
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    try_steps(data, recipe, 0, torch.device("cpu"), "fp32")
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sum(pages[2:]))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_training_is_handed_out_again_what_it_has_freed() -> None:
    pages = {}
    for how in ("given back", "kept"):
        command = [sys.executable, "-c", PAGES_OF_STEPS, how]
        paths = {"PYTHONPATH": ":".join(sys.path)}
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=paths)
        pages[how] = int(run.stdout)
    assert pages["given back"] > 3 * pages["kept"]


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
