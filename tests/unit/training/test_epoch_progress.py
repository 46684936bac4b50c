"""The progress that is shown within an epoch."""

import io
import logging
import re
from pathlib import Path

import pytest
import torch

from imagepipe import progress
from imagepipe.training import epoch_progress
from imagepipe.training.epoch_progress import AsyncReader
from training_builders import STEPS_PER_EPOCH, complete_recipe, train_in


def test_the_progress_shows_loss_accuracy_rate_speed_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(epoch_progress, "SECONDS_BETWEEN_READS", 0.0)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with caplog.at_level(logging.INFO):
        train_in(tmp_path, complete_recipe(schedule={"period": 1, "decay": 0.5}))
    lines = [message for message in caplog.messages if " of 96 images" in message]
    assert len(lines) == 3 * STEPS_PER_EPOCH
    for number, line in enumerate(lines, start=1):
        epoch = 1 + (number - 1) // STEPS_PER_EPOCH
        # A line is written before its own step's loss is there.
        pattern = rf"train: {8 * number} of 96 images, [\d,]+/s, \d\d:\d\d left, epoch {epoch} of 3"
        assert re.match(pattern, line), line
        if number > 1 + STEPS_PER_EPOCH * (epoch - 1):
            lr = {1: "0.02", 2: "0.01", 3: "0.005"}[epoch]
            assert re.search(rf", loss \d\.\d+, acc \d\.\d+, lr {lr}$", line), line


class Event:
    """Stands for an event of a GPU, which has done its work or has not."""

    def __init__(self) -> None:
        self.done = True
        self.recorded = 0

    def query(self) -> bool:
        return self.done

    def record(self) -> None:
        self.recorded += 1


def test_reading_from_a_gpu_never_waits_and_returns_what_has_arrived() -> None:
    values = torch.arange(8.0).reshape(4, 2)
    reader = AsyncReader(values)
    event = Event()
    reader.arrived = event  # type: ignore[assignment]
    assert reader.read(values[:1]) is None
    event.done = False
    assert reader.read(values[:2]) is None
    assert event.recorded == 1
    event.done = True
    arrived = reader.read(values[:3])
    assert arrived is not None
    # The copy that the first call started: the second one found it under way.
    assert torch.equal(arrived, values[:1])
    arrived = reader.read(values[:4])
    assert arrived is not None
    assert torch.equal(arrived, values[:3])
    assert event.recorded == 3
