"""The engine on a CUDA GPU: as exact as on the CPU, and never waited for."""

import logging
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from image_builders import CPU, noise
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.transforms import augment, draw_augmentation
from imagepipe.config.recipe import Augmentation, Recipe
from imagepipe.device import devices as device_module
from imagepipe.device.devices import chosen_device
from imagepipe.distributed.process_group import SINGLE_PROCESS
from imagepipe.training import build as build_module
from imagepipe.training import epoch_progress, loop
from imagepipe.training.loop import TrainingResult
from imagepipe.training.runs import memory_advice
from imagepipe.training.state import TrainingData
from training_builders import (
    UNEQUAL,
    Killed,
    Steps,
    assert_same_weights,
    build,
    colored,
    complete_recipe,
    die,
    several_labels_data,
    spec_of,
    train_in,
    train_one_epoch,
    training_data,
    without_times,
)

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda", 0)
AUGMENTATION = {
    "random_resized_crop": {"resize": 10},
    "random_crop_padding": 1,
    "horizontal_flip": True,
    "color_jitter": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.02},
    "cutout": 2,
}
FOR_PHOTOGRAPHS = {
    "random_resized_crop": {"resize": None, "min_area": 0.3, "max_ratio": 1.5},
    "horizontal_flip": True,
    "vertical_flip": True,
    "affine": {"degrees": 20, "translate": 0.1, "shear": 5},
    "rand_augment": {},
    "random_erasing": {"probability": 0.5},
}


def recipe(**sections: Any) -> Recipe:
    return complete_recipe(**{"augmentation": AUGMENTATION} | sections)


def train_on_gpu(folder: Path, precision: str, **options: Any) -> TrainingResult:
    sections = options.pop("sections", {})
    return train_in(folder, recipe(**sections), precision=precision, device=GPU, **options)


def data_of(sections: dict[str, Any]) -> TrainingData:
    """Return 60 images, large enough for the network, so that an epoch has `STEPS` steps."""
    images, labels = colored(72, 32 if "model" in sections else 8)
    rows = np.arange(72)
    return TrainingData(images.numpy(), labels.numpy(), rows[:60], rows[60:], 3)


@pytest.fixture(autouse=True)
def settings_as_before() -> Any:
    yield
    torch.use_deterministic_algorithms(False)
    torch.cuda.set_sync_debug_mode("default")
    torch.cuda.set_per_process_memory_fraction(1.0)


MUON = {
    "model": {"name": "airbench", "widths": [16, 32, 32]},
    "optimizer": {"name": "muon", "lr": 0.1, "momentum": 0.6},
    "progressive_resizing": [{"until": 0.4, "scale": 0.875}],
    "schedule": {"name": "linear"},
    "freeze": [{"parameters": "whitening", "after": 0.5}],
    "averaging": {"name": "lookahead", "every": 2},
    "test_time_augmentation": "flip_and_shift",
}
ADAMW = {"optimizer": {"name": "adamw", "lr": 1e-3}, "averaging": {"name": "ema"}}
# Steps of an epoch.
STEPS = 7


@pytest.mark.parametrize(
    ("precision", "sections"),
    [("fp32", {}), ("bf16", {}), ("fp16", {}), ("bf16", MUON), ("fp32", ADAMW), ("bf16", UNEQUAL)],
    ids=["fp32", "bf16", "fp16", "muon", "adamw", "unequal classes"],
)
@pytest.mark.parametrize("step", [2, 5, 2 * STEPS])
def test_a_training_repeats_itself_bit_for_bit_and_after_a_kill(
    precision: str,
    sections: dict[str, Any],
    step: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = data_of(sections)
    whole = train_on_gpu(tmp_path / "whole", precision, sections=sections, data=data)
    with monkeypatch.context() as patch:
        Steps(patch).before[step - 1] = die
        with pytest.raises(Killed):
            train_on_gpu(
                tmp_path / "resumed", precision, sections=sections, data=data, seconds_between=0.0
            )
    resumed = train_on_gpu(tmp_path / "resumed", precision, sections=sections, data=data)
    assert_same_weights(resumed.model, whole.model)
    assert without_times(resumed.history) == without_times(whole.history)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        MUON,
        ADAMW,
        {"augmentation": AUGMENTATION | {"cutmix": 1.0}},
        {"augmentation": FOR_PHOTOGRAPHS, "image_size": 12},
        {"deterministic": False},
        {"drop_last": False},
        {"micro_batch_size": 3},
        UNEQUAL,
    ],
    ids=[
        "sgd",
        "muon",
        "adamw",
        "cutmix",
        "photographs",
        "fastest kernels",
        "a smaller last batch",
        "in chunks",
        "unequal classes",
    ],
)
def test_steps_as_graphs_compute_what_they_compute_one_by_one(
    sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, replays = data_of(sections), []
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(graph)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    graphs = train_on_gpu(tmp_path / "graphs", "bf16", sections=sections, data=data)
    assert replays
    monkeypatch.setattr(build_module, "can_record_graphs", lambda *_: False)
    one_by_one = train_on_gpu(tmp_path / "one by one", "bf16", sections=sections, data=data)
    if "deterministic" in sections:
        losses = [[epoch.train_loss for epoch in run.history] for run in (graphs, one_by_one)]
        assert losses[0] == pytest.approx(losses[1], rel=0.05)
    else:
        assert_same_weights(graphs.model, one_by_one.model)
        assert without_times(graphs.history) == without_times(one_by_one.history)


def test_several_labels_are_learned_as_on_the_cpu(tmp_path: Path) -> None:
    data = several_labels_data()
    chosen = recipe(image_size=[10, 12], loss={"focal_gamma": 1.0})
    gpu, cpu = (
        train_in(tmp_path / device.type, chosen, data, device=device) for device in (GPU, CPU)
    )
    losses = [[epoch.train_loss for epoch in run.history] for run in (gpu, cpu)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_network_that_draws_random_numbers_draws_them_in_graphs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = build_module.create_model

    def with_dropout(*args: Any) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Dropout(0.3), create(*args))

    monkeypatch.setattr(build_module, "create_model", with_dropout)
    graphs = train_on_gpu(tmp_path / "graphs", "bf16", data=data_of({}))
    monkeypatch.setattr(build_module, "can_record_graphs", lambda *_: False)
    one_by_one = train_on_gpu(tmp_path / "one by one", "bf16", data=data_of({}))
    assert_same_weights(graphs.model, one_by_one.model)


def test_a_network_that_waits_for_the_gpu_is_trained_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Waiting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.mean().item() < 100
            return x

    create = build_module.create_model
    monkeypatch.setattr(
        build_module, "create_model", lambda *args: torch.nn.Sequential(Waiting(), create(*args))
    )
    with caplog.at_level(logging.INFO):
        trained = train_on_gpu(tmp_path, "bf16", data=data_of({}))
    assert "each kernel of a step is launched by itself" in caplog.text
    assert len(trained.history) == 3


def test_a_memory_map_gives_the_same_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_on_gpu(tmp_path / "whole", "bf16")
    data = training_data()
    np.save(tmp_path / "images.npy", data.images)
    data = replace(data, images=np.load(tmp_path / "images.npy", mmap_mode="c"))
    monkeypatch.setattr(device_module, "free_memory", lambda _: 0)
    mapped = train_on_gpu(tmp_path / "mapped", "bf16", data=data)
    assert_same_weights(mapped.model, whole.model)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "sections",
    [{}, UNEQUAL, {"augmentation": FOR_PHOTOGRAPHS}],
    ids=["plain", "unequal classes", "photographs"],
)
def test_no_step_waits_for_the_gpu(
    precision: str, mapped: bool, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if mapped:
        monkeypatch.setattr(device_module, "free_memory", lambda _: 0)
    monkeypatch.setattr(epoch_progress, "SECONDS_BETWEEN_READS", 0.0)
    training = build(recipe(**sections), training_data(80), precision=precision, device=GPU)
    train_step = loop.train_step

    def watched(*args: Any) -> torch.Tensor:
        # From the first step on, as the epoch's order and draws are on the device by then; making
        # a graph, with the third step, does wait.
        step = training.state.step
        torch.cuda.set_sync_debug_mode("default" if step == 2 else "error")
        result = train_step(*args)
        if step == training.schedule.steps_per_epoch - 1:
            torch.cuda.set_sync_debug_mode("default")
        return result

    monkeypatch.setattr(loop, "train_step", watched)
    train_one_epoch(training)


def test_steps_that_overflow_in_fp16_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**40)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    trained = train_on_gpu(tmp_path, "fp16", sections={"epochs": 12})
    losses = [epoch.train_loss for epoch in trained.history]
    assert losses[-1] < losses[0]


def test_a_compiled_network_learns_as_one_that_is_not(tmp_path: Path) -> None:
    # Of the first steps, before rounding has grown.
    losses = []
    for compile in (False, True):
        sections = MUON | {"compile": compile, "epochs": 1}
        run = train_on_gpu(
            tmp_path / str(compile), "bf16", sections=sections, data=data_of(sections)
        )
        losses.append(run.history[0].train_loss)
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_fp32_on_the_gpu_is_near_fp32_on_the_cpu(tmp_path: Path) -> None:
    gpu = train_on_gpu(tmp_path / "gpu", "fp32")
    cpu = train_in(tmp_path / "cpu", recipe(), device=CPU)
    losses = [[epoch.train_loss for epoch in run.history] for run in (gpu, cpu)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-3)
    # Rounding grows from step to step.
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_the_batch_size_that_is_proposed_for_a_full_memory_fits(tmp_path: Path) -> None:
    data = training_data(train_images=4096)
    wide = {"model": {"name": "small_cnn", "width": 64}, "epochs": 1}
    spec = spec_of(recipe(**wide, batch_size=4096))
    torch.cuda.set_per_process_memory_fraction(
        600e6 / torch.cuda.get_device_properties(GPU).total_memory
    )
    with pytest.raises(torch.OutOfMemoryError):
        train_in(tmp_path, spec.recipe, data, device=GPU)
    advice = memory_advice(data, spec, GPU, "fp32", SINGLE_PROCESS)
    fits = re.search(r"is full at a batch size of 4096; (\d+) fits: set", advice)
    assert fits is not None
    torch.cuda.empty_cache()
    train_in(tmp_path, recipe(**wide, batch_size=int(fits[1])), data, device=GPU)


def test_auto_takes_the_gpu_and_no_gpus_the_cpu() -> None:
    with chosen_device("auto", gpus=1) as device:
        assert device.type == "cuda"
    with chosen_device("auto", gpus=0) as device:
        assert device.type == "cpu"


@pytest.mark.parametrize("size", [(24, 30), (40, 50)])
def test_photographs_are_augmented_as_on_the_cpu(size: tuple[int, int]) -> None:
    images = noise(40, 30)[:, :24]
    options = Augmentation.model_validate(FOR_PHOTOGRAPHS | {"rand_augment": {"operations": 1}})
    draws = draw_augmentation(options, 40, (24, 30), seed=0, epoch=0)
    results = []
    for device in (CPU, GPU):
        normalize = Normalize.from_statistics([0.0] * 3, [1.0] * 3, device)
        one = augment(images.to(device), options, draws.to(device), normalize, image_size=size)
        results.append(one.cpu())
    # A value that is rounded another way may be on the other side of a threshold.
    differs = (results[0] - results[1]).abs() > 2.5 / 255
    assert differs.float().mean() < 0.01
