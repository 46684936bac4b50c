"""When checkpoints are written, and what a signal does."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagepipe.errors import Stopped
from imagepipe.training import checkpoint, loop, saving
from imagepipe.training.build import Training
from imagepipe.training.saving import Saver
from training_builders import (
    EVERYTHING,
    STEPS_PER_EPOCH,
    Steps,
    assert_same_result,
    complete_recipe,
    read_history,
    train_in,
    undisturbed,
)


def test_checkpoints_within_an_epoch_keep_their_distance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    saved = []

    def monotonic() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(checkpoint, "save", lambda *args: saved.append(now))
    # The clock is read once in a step, and twice for a checkpoint.
    train_in(tmp_path, complete_recipe(epochs=1, batch_size=1), seconds_between=9.0)
    # The last one is that of the epoch's end.
    assert saved[:-1] == [11.0, 22.0, 33.0, 44.0]
    assert len(saved) == 5


def test_short_epochs_are_not_held_up_by_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "MAX_SAVING_FRACTION", 0.05)
    saved = []

    def slowly(_: Path, state: dict[str, Any], __: str) -> None:
        saved.append(len(state["history"]))
        time.sleep(0.2)

    monkeypatch.setattr(checkpoint, "save", slowly)
    train_in(tmp_path, complete_recipe(epochs=6))
    # The next one may come after four seconds.
    assert saved == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("step", [0, 2, STEPS_PER_EPOCH - 1, STEPS_PER_EPOCH + 1])
def test_a_signal_saves_at_the_next_step_and_nothing_is_done_twice(
    number: signal.Signals, step: int, tmp_path: Path, steps: Steps
) -> None:
    recipe = complete_recipe(epochs=2, **EVERYTHING)
    whole = undisturbed(recipe)
    handlers = [signal.getsignal(each) for each in signal.Signals]
    steps.count, steps.before[step] = 0, lambda: os.kill(os.getpid(), number)
    with pytest.raises(Stopped) as raised:
        train_in(tmp_path / "resumed", recipe)
    steps.before.clear()
    assert raised.value.signal_number == number
    epochs, rest = divmod(step + 1, STEPS_PER_EPOCH)
    assert str(raised.value) == (
        f"stopped by {number.name} after epoch {epochs if rest else 0} of 2 and step "
        f"{rest or STEPS_PER_EPOCH} of 4 of the next; the same command carries on from there"
    )
    assert steps.count == step + 1
    assert [signal.getsignal(each) for each in signal.Signals] == handlers
    resumed = train_in(tmp_path / "resumed", recipe)
    assert steps.count == 2 * STEPS_PER_EPOCH
    assert_same_result(resumed, whole)
    assert len(read_history(tmp_path / "resumed")) == 2


def test_a_signal_during_validation_does_not_wait_for_its_end(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "VALIDATION_BATCH_SIZE", 1)
    recipe = complete_recipe(epochs=2)
    whole = undisturbed(recipe)
    validate, batches = loop.validate, []

    def interrupt(training: Training, saver: Saver) -> Any:
        stop_if_asked = saver.stop_if_asked

        def count() -> None:
            batches.append(1)
            if len(batches) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            stop_if_asked()

        saver.stop_if_asked = count  # type: ignore[method-assign]
        return validate(training, saver)

    steps.count = 0
    with monkeypatch.context() as patch:
        patch.setattr(loop, "validate", interrupt)
        with pytest.raises(Stopped):
            train_in(tmp_path / "resumed", recipe)
    assert len(batches) == 3
    resumed = train_in(tmp_path / "resumed", recipe)
    assert steps.count == 2 * STEPS_PER_EPOCH
    assert_same_result(resumed, whole)
