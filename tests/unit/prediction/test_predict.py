"""Logits of images: independent of batches and of the model's mode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from image_builders import CLASSES, CPU, MEAN, STD, model_description, noise, write_packed
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.recipe import SmallCNN, TestTimeAugmentation
from imagepipe.errors import UserError
from imagepipe.models.create import create_model
from imagepipe.models.model_files import save_model
from imagepipe.prediction import predict as prediction
from imagepipe.prediction.logits import read_predictions
from imagepipe.prediction.predict import model_logits, predict_logits, predict_test
from imagepipe.prediction.views import mean_over_views

SMALL = SmallCNN(width=4)


def normalize(images: torch.Tensor) -> torch.Tensor:
    return Normalize.from_statistics(MEAN, STD, CPU)(images.permute(0, 3, 1, 2))


def logits_of(
    model: nn.Module, images: torch.Tensor, batch_size: int = 100, **options: Any
) -> torch.Tensor:
    return predict_logits(model, images, MEAN, STD, batch_size=batch_size, **options)


def test_logits_are_those_of_the_model_in_evaluation_mode(model: nn.Module) -> None:
    images = noise(10)
    logits = logits_of(model, images)
    with torch.no_grad():
        expected = model.eval()(normalize(images))
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_logits_do_not_depend_on_the_batch_size(model: nn.Module, batch_size: int) -> None:
    images = noise(10)
    torch.testing.assert_close(
        logits_of(model, images, batch_size), logits_of(model, images), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("training", [True, False])
def test_predicting_leaves_the_model_and_its_mode_as_they_were(
    model: nn.Module, training: bool
) -> None:
    model.train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits_of(model, noise(10, seed=5))
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_bf16_gives_almost_the_logits_of_fp32_as_float32(model: nn.Module) -> None:
    full, half = (logits_of(model, noise(10), precision=name) for name in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().max() < 0.05 * full.abs().max()


def predict_files(folder: Path, images: torch.Tensor, augmentation: TestTimeAugmentation) -> Path:
    """Predict `images` with a new model of 8×8 images; return the file of logits."""
    torch.manual_seed(0)
    model = create_model(SMALL, 3)
    description = model_description(SMALL, test_time_augmentation=augmentation)
    save_model(folder / "model.safetensors", model, description)
    write_packed(folder, images.numpy(), [""] * len(images), ["test"] * len(images))
    threads = torch.get_num_threads()
    predict_test(
        folder / "model.safetensors",
        folder / "labelled.npy",
        folder / "labelled.csv",
        folder / "logits.npz",
        batch_size=4,
        precision="fp32",
        tf32=False,
        deterministic=True,
        device="cpu",
        gpus=1,
        threads=threads,
    )
    return folder / "logits.npz"


def test_freed_memory_is_kept_before_a_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def predict(*args: Any, **options: Any) -> torch.Tensor:
        done.append("predicted")
        return predict_logits(*args, **options)

    monkeypatch.setattr(prediction, "keep_freed_memory", lambda: done.append("kept"))
    monkeypatch.setattr(prediction, "predict_logits", predict)
    predict_files(tmp_path, noise(5), "none")
    assert done == ["kept", "predicted"]


@pytest.mark.parametrize("augmentation", ["none", "flip"])
def test_test_images_are_predicted_as_the_model_file_says(
    augmentation: TestTimeAugmentation, tmp_path: Path
) -> None:
    images = noise(10)
    written = read_predictions(predict_files(tmp_path, images, augmentation))
    assert written.ids.tolist() == [f"id{number}" for number in range(1, 11)]
    assert written.classes.tolist() == list(CLASSES)
    torch.manual_seed(0)
    expected = logits_of(create_model(SMALL, 3), images, test_time_augmentation=augmentation)
    np.testing.assert_allclose(written.logits, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_images_of_another_size_than_the_model_was_trained_on_are_a_user_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=r"images of 8×8 pixels, and .* holds images of 9×9; train"):
        predict_files(tmp_path, noise(4, size=9), "none")


@pytest.mark.parametrize(
    ("size", "expected"), [(None, [7, 3]), ((64, 64), [7, 3]), ((70, 90), [4, 4, 2])]
)
def test_batches_of_large_images_are_smaller(
    size: tuple[int, int] | None, expected: list[int], model: nn.Module
) -> None:
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    logits_of(model, noise(10), 7, image_size=size)
    assert seen == expected


def test_rows_are_taken_in_their_order(model: nn.Module) -> None:
    images, rows = noise(10), torch.tensor([7, 2, 2, 9])
    assert torch.equal(logits_of(model, images, rows=rows), logits_of(model, images[rows]))


@pytest.mark.parametrize("size", [(8, 8), (12, 9)])
def test_a_model_predicts_images_of_its_stored_size_at_its_own(
    size: tuple[int, int], model: nn.Module
) -> None:
    description = model_description(
        SMALL,
        several_labels=True,
        fit="pad",
        image_size=list(size),
        test_time_augmentation="flip_and_shift",
    )
    images = noise(10)
    logits = model_logits(model, description, images, batch_size=4)
    with torch.inference_mode():
        resized = normalize(resize_images(images, size))
        expected = mean_over_views(model.eval(), resized, "flip_and_shift", several_labels=True)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_full_memory_is_answered_with_the_batch_size_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = prediction.predict_logits

    def greedy(*args: Any, batch_size: int, **options: Any) -> torch.Tensor:
        if batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return predict(*args, batch_size=batch_size, **options)

    monkeypatch.setattr(prediction, "predict_logits", greedy)
    with pytest.raises(UserError) as raised:
        predict_files(tmp_path, noise(10), "none")
    assert str(raised.value) == (
        "the memory of cpu is full at a batch size of 4; 1 fits: set prediction_batch_size=1"
    )
    assert not (tmp_path / "logits.npz").exists()


def test_each_batch_is_announced_before_it_is_computed(model: nn.Module) -> None:
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    with pytest.raises(KeyboardInterrupt):
        predict_logits(model, noise(10), MEAN, STD, batch_size=4, before_each_batch=stop)
    assert seen == [4]
