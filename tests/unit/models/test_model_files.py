"""Models on disk: the same bytes for the same weights, and advice for what is no model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from image_builders import CLASSES, model_description
from imagepipe.config.recipe import SmallCNN
from imagepipe.errors import UserError
from imagepipe.models.create import create_model
from imagepipe.models.model_files import load_model, save_model

SMALL = SmallCNN(width=3)
DESCRIPTION = model_description(
    SMALL, stored_size=[6, 8], fit="crop", image_size=[6, 8], test_time_augmentation="flip"
)


def small_model(seed: int = 0) -> nn.Module:
    """Return a network in channels_last layout that has seen a batch, as after a training."""
    torch.manual_seed(seed)
    model = create_model(SMALL, len(CLASSES)).to(memory_format=torch.channels_last)
    model.train()(torch.randn(4, 3, 8, 8))
    return model


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    save_model(tmp_path / "model.safetensors", small_model(), DESCRIPTION)
    return tmp_path / "model.safetensors"


def test_a_model_that_is_read_gives_the_same_logits_and_describes_itself(model_file: Path) -> None:
    images = torch.randn(5, 3, 8, 8)
    model, description = load_model(model_file)
    assert not model.training
    assert torch.equal(model(images), small_model().eval()(images))
    assert description == DESCRIPTION


def test_the_same_weights_give_the_same_bytes(model_file: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "again.safetensors", load_model(model_file)[0], DESCRIPTION)
    assert (tmp_path / "again.safetensors").read_bytes() == model_file.read_bytes()
    save_model(tmp_path / "other.safetensors", small_model(seed=1), DESCRIPTION)
    assert (tmp_path / "other.safetensors").read_bytes() != model_file.read_bytes()


def assert_refused(path: Path, reason: str = "") -> None:
    with pytest.raises(UserError, match=r"is not a model of .*; train again$") as raised:
        load_model(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("size", [0, 5, 100, 0.5, -1])
def test_a_truncated_model_is_a_user_error(size: float, model_file: Path) -> None:
    content = model_file.read_bytes()
    end = int(size * len(content)) if isinstance(size, float) else size
    model_file.write_bytes(content[:end])
    assert_refused(model_file)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"imagepipe": "[]"}])
def test_a_safetensors_file_of_another_program_is_a_user_error(
    metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors", metadata)
    assert_refused(tmp_path / "foreign.safetensors")


def test_a_pickled_model_is_a_user_error(tmp_path: Path) -> None:
    torch.save(small_model(), tmp_path / "model.pt")
    assert_refused(tmp_path / "model.pt")


def test_a_model_that_is_not_there_is_a_user_error(tmp_path: Path) -> None:
    assert_refused(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"model": {"name": "small_cnn", "width": 4}}, "size mismatch"),
        ({"model": {"name": "d2l_resnet18"}}, "Missing key"),
        ({"model": {"name": "a network of a later version"}}, "a network of a later version"),
        ({"model": {"name": "small_cnn", "width": -3}}, "width"),
        ({"classes": ["one", "two"]}, "size mismatch"),
        ({"classes": 3}, "classes"),
        ({"mean": [0.5]}, "mean"),
        ({"std": [0.5, 0.5, "nan"]}, "std"),
        ({"image_size": [0, 8]}, "image_size"),
        ({"test_time_augmentation": "rotate"}, "test_time_augmentation"),
        ({"a key of a later version": 1}, "a key of a later version"),
    ],
)
def test_a_description_that_is_wrong_or_fits_other_weights_is_a_user_error(
    wrong: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    description = json.dumps(DESCRIPTION.model_dump() | wrong)
    save_model(path, small_model(), DESCRIPTION)
    save_file(load_file(path), path, {"imagepipe": description})
    assert_refused(path, reason)


def test_other_programs_can_read_the_weights_and_the_description(model_file: Path) -> None:
    with safe_open(model_file, framework="numpy") as file:
        assert set(file.keys()) == set(small_model().state_dict())
        content = json.loads(file.metadata()["imagepipe"])
    assert content["classes"] == list(CLASSES)
