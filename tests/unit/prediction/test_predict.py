"""Logits of images: independent of batches, mirror images and the model's mode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from imagepipe.augmentation.normalize import Standardisation
from imagepipe.errors import UserError
from imagepipe.models.model_files import ModelDescription, save_model
from imagepipe.models.networks import create_model
from imagepipe.prediction import predict as prediction
from imagepipe.prediction.logits import read_predictions
from imagepipe.prediction.predict import predict_logits, predict_test
from training_builders import CLASSES, CPU, DEVIATIONS, MEANS, noise, write_packed

SMALL = {"name": "small_cnn", "width": 4}


def standardise(images: torch.Tensor) -> torch.Tensor:
    return Standardisation.of(MEANS, DEVIATIONS, CPU).apply(images.permute(0, 3, 1, 2))


@pytest.fixture
def model() -> nn.Module:
    """A network, in training mode, whose batch normalisation has statistics of its own."""
    torch.manual_seed(0)
    model = create_model(SMALL, 3).train()
    for _ in range(3):
        model(standardise(noise(16)))
    # So that the logits of different images are far apart.
    with torch.no_grad():
        model.classifier.weight *= 100
    return model


def logits_of(
    model: nn.Module, images: torch.Tensor, batch_size: int = 100, **options: str
) -> torch.Tensor:
    return predict_logits(model, images, MEANS, DEVIATIONS, batch_size=batch_size, **options)


def test_standardising_subtracts_the_mean_and_divides_by_the_deviation_of_each_channel() -> None:
    images = noise(3, size=5)
    result = standardise(images)
    assert result.shape == (3, 3, 5, 5)
    for channel in range(3):
        expected = (images[..., channel].float() / 255 - MEANS[channel]) / DEVIATIONS[channel]
        torch.testing.assert_close(result[:, channel], expected, rtol=0, atol=1e-5)


def test_logits_are_those_of_the_model_in_evaluation_mode(model: nn.Module) -> None:
    images = noise(10)
    logits = logits_of(model, images)
    with torch.no_grad():
        expected = model.eval()(standardise(images))
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


def test_flip_gives_the_mean_of_an_image_and_its_mirror_image(model: nn.Module) -> None:
    images = noise(10)
    mirrored = images.flip(2)
    plain, of_mirrored = logits_of(model, images), logits_of(model, mirrored)
    assert not torch.allclose(plain, of_mirrored, atol=1e-2)
    flip = logits_of(model, images, test_time_augmentation="flip")
    torch.testing.assert_close(flip, (plain + of_mirrored) / 2, rtol=1e-4, atol=1e-5)
    flip_of_mirrored = logits_of(model, mirrored, test_time_augmentation="flip")
    torch.testing.assert_close(flip, flip_of_mirrored, rtol=1e-4, atol=1e-5)


def test_flip_and_shift_is_the_weighted_mean_over_six_views_where_flip_is_unsure(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that some of the images are sure, and others are not.
    monkeypatch.setattr(prediction, "SURE_FROM", 0.7)
    images = noise(20)
    mirrored = images.flip(2)

    def shifted(views: torch.Tensor, by: int) -> torch.Tensor:
        """Shift down and right by a pixel (up and left for −1); what is missing is mirrored."""
        padded = np.pad(views.numpy(), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return torch.from_numpy(padded[:, 1 - by : 9 - by, 1 - by : 9 - by].copy())

    pair = logits_of(model, images) + logits_of(model, mirrored)
    four = sum(logits_of(model, shifted(v, by)) for v in (images, mirrored) for by in (-1, 1))
    result = logits_of(model, images, test_time_augmentation="flip_and_shift")
    first, second = (pair / 2).softmax(dim=1).sort(dim=1, descending=True).values[:, :2].T
    close = first - second < prediction.SURE_FROM
    assert 0 < close.sum() < 20
    torch.testing.assert_close(result[close], (pair / 4 + four / 8)[close], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result[~close], (pair / 2)[~close], rtol=1e-4, atol=1e-5)
    of_mirrored = logits_of(model, mirrored, test_time_augmentation="flip_and_shift")
    torch.testing.assert_close(result, of_mirrored, rtol=1e-4, atol=1e-5)


def test_an_only_class_is_sure() -> None:
    assert not prediction.unsure(torch.zeros(2, 1)).any()


def test_bf16_gives_almost_the_logits_of_fp32_as_float32(model: nn.Module) -> None:
    full, half = (logits_of(model, noise(10), precision=name) for name in ("fp32", "bf16"))
    assert half.dtype == torch.float32
    assert 0 < (half - full).abs().max() < 0.05 * full.abs().max()


def predict_files(folder: Path, images: torch.Tensor, augmentation: str) -> Path:
    """Predict `images` with a new model of 8×8 images; return the file of logits."""
    torch.manual_seed(0)
    model = create_model(SMALL, 3)
    description = ModelDescription(SMALL, list(CLASSES), 8, MEANS, DEVIATIONS, augmentation)
    save_model(folder / "model.safetensors", model, description)
    write_packed(folder, images.numpy(), [""] * len(images), ["test"] * len(images))
    threads = torch.get_num_threads()
    predict_test(
        folder / "model.safetensors",
        folder / "labelled.npy",
        folder / "labelled.csv",
        folder / "logits.npz",
        batch_size=4,
        precision_option="fp32",
        tf32=False,
        deterministic=True,
        device_option="cpu",
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
    augmentation: str, tmp_path: Path
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
    with pytest.raises(UserError, match=r"images of 8 pixels, and .* holds images of 9; train"):
        predict_files(tmp_path, noise(4, size=9), "none")


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
        predict_logits(model, noise(10), MEANS, DEVIATIONS, batch_size=4, before_each_batch=stop)
    assert seen == [4]
