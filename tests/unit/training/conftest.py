"""Fixtures of the tests of training."""

import math

import pytest
import torch

from imagepipe.device import devices
from imagepipe.training import saving
from training_builders import Steps


@pytest.fixture(autouse=True)
def checkpoints_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write them however short an epoch of a few images is."""
    monkeypatch.setattr(saving, "MAX_SAVING_FRACTION", math.inf)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


@pytest.fixture
def fp16_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fp16 compute in bf16: PyTorch's fp16 on the CPU sometimes gives NaN for good numbers.

    What remains of fp16 to test is the loss scaling, and its state in the checkpoint.
    """
    monkeypatch.setitem(devices.BITS_16, "fp16", torch.bfloat16)
