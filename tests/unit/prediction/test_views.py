"""Test-time augmentation: which views of an image its logits are the mean of."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from image_builders import MEAN, STD, noise
from imagepipe.prediction import views
from imagepipe.prediction.predict import predict_logits


def logits_of(model: nn.Module, images: torch.Tensor, **options: Any) -> torch.Tensor:
    return predict_logits(model, images, MEAN, STD, batch_size=100, **options)


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
    monkeypatch.setattr(views, "SURE_GAP", 0.7)
    images = noise(20)
    mirrored = images.flip(2)

    def shifted(batch: torch.Tensor, by: int) -> torch.Tensor:
        """Shift down and right by a pixel (up and left for −1); what is missing is mirrored."""
        padded = np.pad(batch.numpy(), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return torch.from_numpy(padded[:, 1 - by : 9 - by, 1 - by : 9 - by].copy())

    pair = logits_of(model, images) + logits_of(model, mirrored)
    four = sum(logits_of(model, shifted(v, by)) for v in (images, mirrored) for by in (-1, 1))
    result = logits_of(model, images, test_time_augmentation="flip_and_shift")
    first, second = (pair / 2).softmax(dim=1).sort(dim=1, descending=True).values[:, :2].T
    close = first - second < views.SURE_GAP
    assert 0 < close.sum() < 20
    torch.testing.assert_close(result[close], (pair / 4 + four / 8)[close], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result[~close], (pair / 2)[~close], rtol=1e-4, atol=1e-5)
    of_mirrored = logits_of(model, mirrored, test_time_augmentation="flip_and_shift")
    torch.testing.assert_close(result, of_mirrored, rtol=1e-4, atol=1e-5)


def test_an_only_class_is_sure() -> None:
    assert not views.is_unsure(torch.zeros(2, 1)).any()


def test_with_several_labels_an_image_is_unsure_if_one_of_its_classes_is() -> None:
    logits = torch.tensor([[9.0, -9, 9], [9, 0.4, -9], [-0.4, 9, 9], [-9, -9, -9], [0.6, 9, -9]])
    unsure = views.is_unsure(logits, several_labels=True)
    assert unsure.tolist() == [False, True, True, False, False]
