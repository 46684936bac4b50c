"""Features of packed images on disk, and predictions from them."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from frozen_builders import (
    MEAN,
    STD,
    TINY,
    feature_data,
    frozen,
    library_network,
    tiny_network,
    write_weights,
)
from image_builders import model_description
from imagepipe.augmentation.normalize import Normalize
from imagepipe.augmentation.resizing import resize_images
from imagepipe.config.recipe import FrozenFeatures
from imagepipe.errors import Stopped, UserError
from imagepipe.files import write_rows
from imagepipe.models.create import create_model
from imagepipe.models.frozen_features import FrozenWithHead, image_features
from imagepipe.models.model_files import save_model
from imagepipe.prediction import embedding
from imagepipe.prediction.embedding import embed
from imagepipe.prediction.features import predict_embeddings, read_embeddings
from imagepipe.prediction.logits import read_predictions
from imagepipe.prediction.predict import predict_test
from imagepipe.training.heads import train_head
from training_builders import CPU, spec_of

MACHINE = {"device": "cpu", "gpus": 0, "threads": 1}
ARITHMETIC = {"precision": "fp32", "tf32": False, "deterministic": True}
COUNTS = {"labelled": 11, "test": 5}


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A folder with packed images of 20×20 pixels, and weights."""
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        np.save(
            tmp_path / f"{name}.npy", rng.integers(256, size=(count, 20, 20, 3), dtype=np.uint8)
        )
    write_weights(tmp_path)
    return tmp_path


def embed_in(folder: Path, *, flip: bool = False, architecture: str = TINY, **options: Any) -> None:
    embed(
        tiny_network(flip=flip, architecture=architecture),
        folder / "weights.safetensors",
        folder / "weights.json",
        {folder / f"{name}.npy": folder / "out" / f"{name}.npy" for name in COUNTS},
        **{"image_size": [32, 32], "batch_size": 1, **ARITHMETIC, **MACHINE, **options},
    )


@pytest.mark.parametrize("flip", [False, True])
def test_features_are_those_of_the_library(packed: Path, flip: bool) -> None:
    embed_in(packed, flip=flip)
    network = library_network()
    network.reset_classifier(0)
    normalize = Normalize.from_statistics(MEAN, STD, CPU)
    for name, count in COUNTS.items():
        images = torch.from_numpy(np.load(packed / f"{name}.npy"))
        batch = normalize(resize_images(images, (32, 32), "bicubic").permute(0, 3, 1, 2))
        with torch.inference_mode():
            expected = network(batch)
            if flip:
                expected = (expected + network(batch.flip(-1))) / 2
        found = read_embeddings(packed / "out" / f"{name}.npy", count)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_networks_for_images_of_one_size_are_made_for_the_recipes(packed: Path) -> None:
    architecture = "vit_tiny_patch16_224"
    torch.manual_seed(0)
    save_file(timm.create_model(architecture).state_dict(), packed / "weights.safetensors")
    embed_in(packed, architecture=architecture)
    model = create_model(
        frozen("linear", architecture).model, 3, packed / "weights.safetensors", [32, 32]
    )
    assert isinstance(model, FrozenWithHead)
    images = torch.from_numpy(np.load(packed / "test.npy"))
    normalize = Normalize.from_statistics(MEAN, STD, CPU)
    batch = normalize(resize_images(images, (32, 32), "bicubic").permute(0, 3, 1, 2))
    with torch.inference_mode():
        expected = image_features(model.features.eval(), batch, flip=False)
    found = read_embeddings(packed / "out/test.npy", COUNTS["test"])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    with pytest.raises(UserError, match=r"^recipe: model.on.architecture: .* 4 pixels"):
        embed_in(packed, architecture=architecture, image_size=[4, 4])


def test_batches_do_not_matter(packed: Path) -> None:
    embed_in(packed, batch_size=1)
    one = read_embeddings(packed / "out/labelled.npy", 11).copy()
    embed_in(packed, batch_size=500)
    np.testing.assert_allclose(read_embeddings(packed / "out/labelled.npy", 11), one, atol=1e-5)


def test_a_signal_leaves_no_file(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finite_bytes = embedding.finite_bytes

    def killed(features: torch.Tensor) -> bytes:
        os.kill(os.getpid(), signal.SIGTERM)
        return finite_bytes(features)

    monkeypatch.setattr(embedding, "finite_bytes", killed)
    with pytest.raises(Stopped, match="stopped by SIGTERM; the same command starts again"):
        embed_in(packed)
    assert list((packed / "out").iterdir()) == []


def test_features_that_are_not_finite_are_refused(packed: Path) -> None:
    embed_in(packed)
    with pytest.raises(UserError, match="not finite; set override"):
        embedding.finite_bytes(torch.tensor([[0.0, float("nan")]]))


def test_features_of_other_images_are_refused(packed: Path) -> None:
    embed_in(packed)
    path = packed / "out" / "test.npy"
    with pytest.raises(UserError, match="does not belong to the images; run with --forcerun embed"):
        read_embeddings(path, 6)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_embeddings(path, 5)


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_predictions_from_features_are_those_from_images(packed: Path, head: str) -> None:
    embed_in(packed, flip=True)
    recipe = frozen(head, flip=True)
    data, _ = feature_data(11, 0)
    data = data.__class__(**{**vars(data), "weights": packed / "weights.safetensors"})
    features = read_embeddings(packed / "out/labelled.npy", 11)
    spec = spec_of(recipe)
    result = train_head(data, features, spec, CPU, packed / "history.csv", image_size=[32, 32])
    assert isinstance(recipe.model, FrozenFeatures)
    description = model_description(
        recipe.model,
        stored_size=[20, 20],
        image_size=[32, 32],
        mean=MEAN,
        std=STD,
        interpolation="bicubic",
    )
    model, table = packed / "model.safetensors", packed / "test.csv"
    save_model(model, result.model, description)
    write_rows(table, ("id", "label"), [(number, "") for number in range(5)])
    predict_embeddings(model, packed / "out/test.npy", table, packed / "one.npz", **MACHINE)
    predict_test(
        *(model, packed / "test.npy", table, packed / "other.npz"),
        **{"batch_size": 3, **ARITHMETIC, **MACHINE},
    )
    one, other = (read_predictions(packed / f"{name}.npz") for name in ("one", "other"))
    np.testing.assert_allclose(one.logits, other.logits, atol=2e-3)
    assert one.ids.tolist() == other.ids.tolist()
