"""The numbers in which a training computes, and compiled networks."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imagepipe.config.recipe import Airbench
from imagepipe.training.epoch_progress import AsyncReader
from training_builders import (
    EVERYTHING,
    all_images,
    assert_same_result,
    build,
    complete_recipe,
    train_in,
    train_one_epoch,
)


def test_bf16_trains_fp32_weights_and_says_so(tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=1)
    half = train_in(tmp_path / "half", recipe, precision="bf16")
    full = train_in(tmp_path / "full", recipe)
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    assert half.history[-1].precision == "bf16"
    losses = [run.history[-1].train_loss for run in (half, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


@pytest.mark.usefixtures("fp16_on_the_cpu")
def test_the_losses_of_fp16_are_scaled(tmp_path: Path) -> None:
    recipe = complete_recipe(epochs=1)
    assert build(recipe, precision="fp16").scaler.is_enabled()
    assert not build(recipe, precision="bf16").scaler.is_enabled()
    half = train_in(tmp_path / "half", recipe, precision="fp16").history[-1]
    full = train_in(tmp_path / "full", recipe).history[-1]
    assert half.train_loss == pytest.approx(full.train_loss, rel=0.05)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="compiling needs a C++ compiler")
def test_a_compiled_network_learns_the_same_and_repeats_itself(tmp_path: Path) -> None:
    # In bf16, where PyTorch rounds less often between operations that it compiles into one.
    data = all_images(45, Airbench.min_image_size)
    data = replace(data, train_rows=data.train_rows[9:], valid_rows=data.train_rows[:9])
    model = {"activation": "silu", "pooling": "max_plus_mean"}
    sections = {"model": {"name": "airbench", "widths": [4, 8, 8], **model}, "epochs": 2}
    plain = train_in(tmp_path / "plain", complete_recipe(**sections), data, precision="bf16")
    recipe = complete_recipe(**sections, compile=True)
    one, other = (
        train_in(tmp_path / name, recipe, data, precision="bf16") for name in ("one", "other")
    )
    assert_same_result(one, other)
    assert one.model.state_dict().keys() == plain.model.state_dict().keys()
    losses = [[epoch.train_loss for epoch in run.history] for run in (one, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


class Float64Watch(TorchDispatchMode):
    """Notes after how many steps of the optimizer a float64 tensor is made."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_done = 0
        self.found_after: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            self.found_after.append(self.steps_done)
        return result


def test_an_epoch_computes_without_float64_which_mps_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = build(complete_recipe(**EVERYTHING), all_images(16))
    watch = Float64Watch()

    def count(*_: object) -> None:
        watch.steps_done += 1

    assert isinstance(training.optimizer, torch.optim.Optimizer)
    training.optimizer.register_step_post_hook(count)
    # What is read for the progress is on the CPU.
    monkeypatch.setattr(AsyncReader, "read", lambda *_: None)
    with watch:
        train_one_epoch(training)
    assert watch.steps_done == 2
    # After the last batch, numbers may be added up on the CPU.
    assert set(watch.found_after) <= {2}


TRAIN_WITH_MUON = """
import sys
from dataclasses import replace
from pathlib import Path
from training_builders import complete_recipe, train_in, training_data
train_in(Path(sys.argv[1]), complete_recipe(optimizer={"name": "muon"}), training_data(8, 4))
assert "imagepipe.training.muon" in sys.modules
print("torch._dynamo" in sys.modules)
"""


def test_training_with_muon_loads_no_compiler(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_WITH_MUON, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False"]
