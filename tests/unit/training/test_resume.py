"""An interrupted training ends as if nothing had happened, bit for bit."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imagepipe.training import build as build_module
from imagepipe.training import loop
from training_builders import (
    EVERYTHING,
    STEPS_PER_EPOCH,
    UNEQUAL,
    Killed,
    Steps,
    assert_same_result,
    assert_same_weights,
    build,
    complete_recipe,
    die,
    die_after_saving,
    read_history,
    several_labels_data,
    train_in,
    train_one_epoch,
    undisturbed,
)


def die_within(epoch: int, patch: pytest.MonkeyPatch) -> None:
    """Have a training die in the third step after an epoch."""
    Steps(patch).before[STEPS_PER_EPOCH * epoch + 2] = die


WITH_MUON = {
    "optimizer": {"name": "muon", "lr": 0.1, "momentum": 0.6},
    "schedule": {"name": "linear"},
    "freeze": [{"parameters": "features.0", "after": 0.5}],
    "averaging": {"name": "lookahead", "every": 2},
}


@pytest.mark.parametrize("death", [die_after_saving, die_within])
@pytest.mark.parametrize("epoch", [1, 3, 4])
@pytest.mark.parametrize(
    "sections", [EVERYTHING, WITH_MUON, UNEQUAL], ids=["sgd", "muon", "unequal classes"]
)
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    death: Callable[[int, pytest.MonkeyPatch], None],
    epoch: int,
    sections: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recipe = complete_recipe(epochs=5, **sections)
    whole = undisturbed(recipe)
    with monkeypatch.context() as patch:
        death(epoch, patch)
        with pytest.raises(Killed):
            train_in(tmp_path / "resumed", recipe)
    with caplog.at_level(logging.INFO):
        resumed = train_in(tmp_path / "resumed", recipe)
    assert f"carry on after epoch {epoch} of 5" in caplog.messages
    assert_same_result(resumed, whole)
    assert len(read_history(tmp_path / "resumed")) == 5


@pytest.mark.parametrize("step", [1, 6])
def test_balanced_sampling_of_several_labels_is_carried_on_from_the_very_step(
    step: int, tmp_path: Path, steps: Steps
) -> None:
    recipe, data = complete_recipe(epochs=2, **UNEQUAL), several_labels_data()
    whole = train_in(tmp_path / "whole", recipe, data)
    steps.count, steps.before[step] = 0, die
    with pytest.raises(Killed):
        train_in(tmp_path / "resumed", recipe, data, seconds_between=0.0)
    steps.before.clear()
    assert_same_result(train_in(tmp_path / "resumed", recipe, data), whole)
    assert steps.count == 2 * STEPS_PER_EPOCH


@pytest.mark.usefixtures("fp16_on_the_cpu")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("step", range(1, 2 * STEPS_PER_EPOCH))
def test_a_checkpoint_within_an_epoch_is_carried_on_from_the_very_step(
    step: int, precision: str, tmp_path: Path, steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = complete_recipe(epochs=2, **EVERYTHING)
    whole = undisturbed(recipe, precision)
    steps.count, steps.before[step] = 0, die
    with pytest.raises(Killed):
        train_in(tmp_path / "resumed", recipe, precision=precision, seconds_between=0.0)
    steps.before.clear()
    with caplog.at_level(logging.INFO):
        resumed = train_in(tmp_path / "resumed", recipe, precision=precision, seconds_between=0.0)
    # No step was made twice, and none was left out.
    assert steps.count == 2 * STEPS_PER_EPOCH
    assert_same_result(resumed, whole)
    assert len(read_history(tmp_path / "resumed")) == 2
    epochs, rest = divmod(step, STEPS_PER_EPOCH)
    place = f" and step {rest} of 4 of the next" if rest else ""
    assert f"carry on after epoch {epochs} of 2{place}" in caplog.messages


@pytest.mark.usefixtures("fp16_on_the_cpu")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_checkpoints_after_every_step_change_nothing(precision: str, tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=2, **EVERYTHING)
    other = train_in(tmp_path / "other", recipe, precision=precision, seconds_between=0.0)
    assert_same_result(other, undisturbed(recipe, precision))


FINE_TUNED = {
    "model": {"name": "timm", "architecture": "test_resnet", "hidden_units": 8, "drop_path": 0.1},
    # At 16 pixels, PyTorch's emulated bf16 on a CPU gives gradients that are not finite.
    "image_size": 32,
    "optimizer": {"name": "adamw", "lr": 1e-3, "decay_norms_and_biases": False},
    "schedule": {"name": "cosine", "warmup": 0.2},
    "fine_tune": {"frozen_epochs": 1, "lr_decay_by_layer": 0.7, "head_lr": 5e-3},
    "gradient_clipping": 0.5,
    "averaging": {"name": "ema", "decay": 0.5, "every": 1},
}
FINE_TUNED_BY_MUON = FINE_TUNED | {
    "optimizer": {"name": "muon", "lr": 0.01},
    "fine_tune": {"frozen_epochs": 1, "keep_statistics": False},
    "averaging": {"name": "lookahead", "every": 2},
}
FINE_TUNED_FROM_A_PROBE = FINE_TUNED | {
    "fine_tune": {"frozen_epochs": 0, "linear_probe": True},
}


# In the frozen phase, at its end, and later.
@pytest.mark.parametrize("step", [2, STEPS_PER_EPOCH, STEPS_PER_EPOCH + 2])
@pytest.mark.parametrize(
    ("sections", "precision"),
    [
        (FINE_TUNED, "fp32"),
        (FINE_TUNED, "bf16"),
        (FINE_TUNED_BY_MUON, "fp32"),
        (FINE_TUNED_FROM_A_PROBE, "fp32"),
    ],
    ids=["adamw", "adamw in bf16", "muon", "from a probe"],
)
def test_fine_tuning_is_carried_on_from_the_very_step(
    sections: dict[str, Any], precision: str, step: int, tmp_path: Path, steps: Steps
) -> None:
    recipe = complete_recipe(epochs=2, **sections)
    whole = undisturbed(recipe, precision)
    steps.count, steps.before[step] = 0, die
    with pytest.raises(Killed):
        train_in(tmp_path / "resumed", recipe, precision=precision, seconds_between=0.0)
    steps.before.clear()
    resumed = train_in(tmp_path / "resumed", recipe, precision=precision, seconds_between=0.0)
    assert steps.count == 2 * STEPS_PER_EPOCH
    assert_same_result(resumed, whole)


KILLS = 10
# Three frozen epochs of four steps, and as many steps later as kills may need.
KILLED = FINE_TUNED | {"epochs": 10, "fine_tune": {"frozen_epochs": 3, "lr_decay_by_layer": 0.7}}
# Trains in a fork, which takes no time to start, once for each line: a folder.
TRAININGS = """
import json, os, sys
from pathlib import Path
recipe, *sys.path = json.loads(sys.argv[1])
import timm, torch
from imagepipe.training import logistic_regression, loop
from training_builders import complete_recipe, train_in
train_step = loop.train_step
def told(*args):
    print("step", flush=True)
    return train_step(*args)
loop.train_step = told
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        torch.set_num_threads(1)
        folder = Path(line.strip())
        result = train_in(folder, complete_recipe(**recipe), seconds_between=0.0)
        torch.save([result.model.state_dict(), result.valid_logits], folder / "result.pt")
        os._exit(0)
    print(pid, flush=True)
    print("exit", os.waitpid(pid, 0)[1], flush=True)
"""


def test_fine_tuning_is_killed_at_random_moments_without_a_trace(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    moments, steps_of_killed = random.Random(0), 0
    server = subprocess.Popen(
        [sys.executable, "-c", TRAININGS, json.dumps([KILLED, *sys.path])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None

        def train(folder: Path, kill: bool) -> tuple[int, str]:
            """Return the number of steps, and how the training ended."""
            assert server.stdin is not None
            print(folder, file=server.stdin, flush=True)
            pid, last = int(next(lines)), moments.randint(1, 3)
            for count, line in enumerate(lines):
                if line.startswith("exit"):
                    return count, line.split()[1]
                if kill and count + 1 == last:
                    # In a step, while it saves or validates, or in a later step.
                    time.sleep(moments.uniform(0, 0.05))
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError("the process of the trainings ended")

        lines = iter(server.stdout)
        for _ in range(KILLS):
            count, end = train(killed, kill=True)
            assert end == str(int(signal.SIGKILL)), f"the training is too short for {KILLS} kills"
            steps_of_killed += count
        count, end = train(killed, kill=False)
        assert end == "0"
        # It was carried on: a kill costs one step, or none.
        assert steps_of_killed + count <= 10 * STEPS_PER_EPOCH + KILLS
        assert train(whole, kill=False) == (10 * STEPS_PER_EPOCH, "0")
        server.stdin.close()
    results = [torch.load(each / "result.pt", weights_only=False) for each in (whole, killed)]
    for name, tensor in results[0][0].items():
        assert torch.equal(tensor, results[1][0][name]), name
    assert results[0][1].tobytes() == results[1][1].tobytes()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_cpu_carries_on_from_a_checkpoint_of_a_gpu(optimizer: str) -> None:
    recipe = complete_recipe(optimizer={"name": optimizer, "lr": 0.01})
    one, other = build(recipe), build(recipe)
    # As on a GPU.
    for group in one.optimizer.param_groups:
        group["lr"] = torch.tensor(0.3)
        if "capturable" in group:
            group["capturable"] = True
    other.restore(one.checkpoint_state())
    undisturbed = build(recipe)
    assert train_one_epoch(other) == train_one_epoch(undisturbed)
    assert_same_weights(other.model, undisturbed.model)


def test_a_network_that_draws_random_numbers_is_carried_on_exactly_too(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_model = build_module.create_model

    def with_dropout(*args: Any) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.5), create_model(*args))

    monkeypatch.setattr(build_module, "create_model", with_dropout)
    recipe = complete_recipe(epochs=2)
    whole = train_in(tmp_path / "whole", recipe)
    steps.before[steps.count + 2] = die
    with pytest.raises(Killed):
        train_in(tmp_path / "resumed", recipe, seconds_between=0.0)
    steps.before.clear()
    torch.rand(3)
    assert_same_result(train_in(tmp_path / "resumed", recipe), whole)
    # Without seeds for its layers, it would not be.
    monkeypatch.setattr(loop, "seed_layers", lambda *_: None)
    unseeded = train_in(tmp_path / "unseeded", recipe)
    with pytest.raises(AssertionError):
        assert_same_weights(unseeded.model, whole.model)


def test_history_is_written_again_as_soon_as_a_training_is_carried_on(
    tmp_path: Path, steps: Steps
) -> None:
    steps.before[2 * STEPS_PER_EPOCH] = die
    with pytest.raises(Killed):
        train_in(tmp_path, complete_recipe())
    assert len(read_history(tmp_path)) == 2
    # As the workflow does before a job runs again.
    (tmp_path / "history.csv").unlink()
    with pytest.raises(Killed):
        train_in(tmp_path, complete_recipe())
    assert [row["epochs"] for row in read_history(tmp_path)] == ["1", "2"]


def test_a_training_that_died_at_its_very_end_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = complete_recipe()
    whole = train_in(tmp_path, recipe)
    (tmp_path / "history.csv").unlink()
    monkeypatch.setattr(loop, "train_epoch", None)
    again = train_in(tmp_path, recipe)
    assert_same_result(again, whole)
    assert again.history == whole.history
    assert len(read_history(tmp_path)) == 3


def test_the_checkpoint_of_another_training_is_not_carried_on(tmp_path: Path) -> None:
    train_in(tmp_path, complete_recipe(epochs=2), fingerprint="another")
    result = train_in(tmp_path, complete_recipe(epochs=3))
    assert_same_weights(result.model, undisturbed(complete_recipe(epochs=3)).model)
