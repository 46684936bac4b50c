"""Several processes that share one training: shards, statistics, and the result of one process."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from imagepipe.distributed.process_group import ProcessGroup
from imagepipe.prediction.logits import read_predictions
from imagepipe.training.runs import TrainingInputs, train_run
from process_builders import (
    PLAIN,
    assert_same_but_for_rounding,
    figures,
    inputs_in,
    run_in,
    write_inputs,
)


@pytest.mark.parametrize("world_size", [2, 3, 8])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 125])
def test_shards_have_every_position_once(world_size: int, length: int) -> None:
    shards = [ProcessGroup(rank, world_size).shard(length) for rank in range(world_size)]
    assert torch.equal(torch.cat(shards).sort().values, torch.arange(length))
    assert max(map(len, shards)) - min(map(len, shards)) <= 2


@pytest.mark.parametrize("length", [7, 8])
def test_a_shard_has_the_partners_of_its_images_in_the_order_of_mixing(length: int) -> None:
    for rank in range(3):
        shard = ProcessGroup(rank, 3).shard(length)
        assert torch.equal(shard.flip(0), length - 1 - shard)


def test_one_process_has_all_positions_in_order() -> None:
    assert torch.equal(ProcessGroup().shard(5), torch.arange(5))


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_the_largest_shard_is_that_of_the_process_with_most(length: int, world_size: int) -> None:
    shards = [len(ProcessGroup(rank, world_size).shard(length)) for rank in range(world_size)]
    assert ProcessGroup(0, world_size).largest_shard(length) == max(shards)


@pytest.mark.parametrize("length", [0, 1, 5, 9])
def test_chunks_are_a_range_in_order(length: int) -> None:
    numbers = list(range(length))
    chunks = [numbers[ProcessGroup(rank, 4).chunk(length)] for rank in range(4)]
    assert [number for chunk in chunks for number in chunk] == numbers


def test_batch_normalization_of_one_process_is_left_to_torch() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3))
    assert ProcessGroup().synchronize_batch_norm(model) is model
    assert type(model[0]) is nn.BatchNorm2d


def test_a_single_process_computes_what_the_first_one_is_asked_for() -> None:
    assert ProcessGroup().from_first(lambda: ("bf16", "measured")) == ("bf16", "measured")


MIXED = {
    "model": {"name": "airbench", "widths": [4, 6, 8]},
    "augmentation": {
        "random_crop_padding": 1,
        "horizontal_flip": True,
        "alternating_flip": True,
        "cutmix": 1.0,
    },
    "progressive_resizing": [{"until": 0.4, "scale": 0.75}],
    "optimizer": {"name": "muon", "lr": 0.05, "rest": {"lr": 0.01, "head_lr": 0.1}},
    "freeze": [{"parameters": "whitening", "after": 0.5}],
    "loss": {"reduction": "sum", "label_smoothing": 0.1},
    "averaging": {"name": "lookahead", "decay": 0.9, "every": 2},
    "test_time_augmentation": "flip_and_shift",
}
PRETRAINED = {"name": "timm", "architecture": "test_resnet", "weights": "some.safetensors"}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "mixed": MIXED,
    # The second batch has one image, so the first of the two processes has none.
    "batch_of_one": PLAIN | {"batch_size": 35, "epochs": 1, "drop_last": False},
    # Of 15 images they have 8 and 7, and of 2 all and none: no one may end before the other.
    "uneven_chunks": PLAIN | {"batch_size": 15, "micro_batch_size": 7, "epochs": 2},
    "empty_shards": PLAIN | {"batch_size": 2, "epochs": 2},
    "one_validation_image": PLAIN,
    "fine_tuned": PLAIN
    | {
        "model": PRETRAINED,
        "image_size": 16,
        "optimizer": {"name": "adamw", "lr": 1e-3, "decay_norms_and_biases": False},
        "fine_tune": {"frozen_epochs": 1, "lr_decay_by_layer": 0.8, "linear_probe": True},
        "freeze": [{"parameters": "conv1", "after": 0}],
        "gradient_clipping": 0.1,
        "micro_batch_size": 3,
    },
    "features": PLAIN
    | {
        "model": PRETRAINED | {"hidden_units": 5},
        "image_size": 16,
        "fine_tune": {"frozen_epochs": 5},
        "epochs": 2,
    },
    "unequal": PLAIN
    | {
        "image_size": [12, 16],
        "sampling": "balanced",
        "loss": {"focal_gamma": 1, "class_weights": "balanced"},
        "augmentation": {"mixup": 0.5, "random_crop_padding": 1},
    },
}
TRAIN_ALL = """
import sys
from pathlib import Path
import torch.distributed as dist
from test_process_group import train_all
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
train_all(rank, folder)
"""


def inputs_of(name: str, folder: Path) -> TrainingInputs:
    """Return the inputs of the training by a recipe."""
    inputs = inputs_in(folder / ("few" if name == "one_validation_image" else "inputs"))
    pretrained = name in ("fine_tuned", "features")
    return replace(inputs, weights=folder / "weights.safetensors" if pretrained else None)


def train_all(rank: int, folder: Path) -> None:
    """Train all recipes as one of two processes, which need some seconds to start."""
    group = ProcessGroup(rank, 2)
    print(*group.from_first(lambda: (f"bf16 by {rank}", "measured")), flush=True)
    for name, recipe in RECIPES.items():
        train_run(run_in(folder / name, inputs_of(name, folder), recipe, processes=2), group)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder with the results of two processes, and what each of them printed first."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("inputs", "few"):
        write_inputs(folder / name)
    torch.manual_seed(5)
    library_network = timm.create_model("test_resnet", num_classes=10)
    save_file(library_network.state_dict(), folder / "weights.safetensors")
    split = folder / "few" / "split.csv"
    split.write_text(split.read_text().replace(",valid", ",train").replace(",train", ",valid", 1))
    paths = [str(Path(__file__).parent), *(path for path in sys.path if path)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN_ALL, str(rank), str(folder)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return folder, outputs


Trained = tuple[Path, list[str]]


@pytest.mark.parametrize(
    "name", ["plain", "mixed", "unequal", "batch_of_one", "fine_tuned", "features"]
)
def test_two_processes_train_like_one(name: str, trained: Trained, tmp_path: Path) -> None:
    folder, _ = trained
    train_run(run_in(tmp_path / "one", inputs_of(name, folder), RECIPES[name]))
    if name == "batch_of_one":
        one, two = figures(tmp_path / "one"), figures(folder / name)
        np.testing.assert_allclose(two, one, rtol=1e-4)
    else:
        assert_same_but_for_rounding(folder / name, tmp_path / "one")


@pytest.mark.parametrize("name", ["uneven_chunks", "empty_shards"])
def test_processes_go_through_a_batch_in_equally_many_chunks(name: str, trained: Trained) -> None:
    assert len(figures(trained[0] / name)) == 2


def test_fewer_validation_images_than_processes(trained: Trained) -> None:
    logits = trained[0] / "one_validation_image" / "valid_logits.npz"
    assert len(read_predictions(logits).ids) == 1


def test_the_first_process_measures_for_all(trained: Trained) -> None:
    assert trained[1] == ["bf16 by 0 measured\n"] * 2
