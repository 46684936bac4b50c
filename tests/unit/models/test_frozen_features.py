"""Models on the features of frozen networks."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from frozen_builders import frozen, library_network, tiny_network, write_weights
from image_builders import model_description
from imagepipe.config.recipe import KNNHead, Recipe
from imagepipe.models.create import create_model
from imagepipe.models.frozen_features import (
    FrozenWithHead,
    NearestNeighbors,
    create_frozen_network,
    image_features,
)
from imagepipe.models.model_files import ModelDescription, load_model, save_model

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
HEADS = ("linear", "mlp", "knn")


def description(recipe: Recipe) -> ModelDescription:
    return model_description(recipe.model, stored_size=[32, 32], image_size=[32, 32])


def test_features_of_timm_are_the_input_of_its_classifier(tmp_path: Path) -> None:
    weights, _ = write_weights(tmp_path)
    network, size = create_frozen_network(tiny_network(), weights)
    whole = library_network()
    expected = whole.forward_head(whole.forward_features(IMAGES), pre_logits=True)
    assert expected.shape == (4, size)
    torch.testing.assert_close(network.eval()(IMAGES), expected)


@pytest.mark.parametrize("architecture", ["mobilenet_v3_small", "squeezenet1_1"])
def test_features_of_torchvision_are_the_input_of_its_last_layer(
    tmp_path: Path, architecture: str
) -> None:
    weights, _ = write_weights(tmp_path, architecture, "torchvision")
    options = tiny_network(library="torchvision", architecture=architecture)
    network, size = create_frozen_network(options, weights)
    whole = library_network(architecture, "torchvision")
    last = [module for module in whole.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    inputs: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda _, args: inputs.append(args[0].clone()))
    whole(IMAGES)
    expected = inputs[0] if inputs[0].dim() == 2 else inputs[0].mean(dim=(2, 3))
    assert expected.shape == (4, size)
    torch.testing.assert_close(network.eval()(IMAGES), expected)


def test_flip_takes_the_mean_of_the_features_of_both_images() -> None:
    network = library_network()
    mean = (network(IMAGES) + network(IMAGES.flip(-1))) / 2
    torch.testing.assert_close(image_features(network, IMAGES, flip=True), mean)
    model = FrozenWithHead(network, nn.Linear(7, 3), flip=True)
    torch.testing.assert_close(model(IMAGES), model.head(mean))


@pytest.mark.parametrize("head", HEADS)
def test_models_come_back_from_their_files(tmp_path: Path, head: str) -> None:
    weights, _ = write_weights(tmp_path)
    recipe = frozen(head, flip=True)
    model = create_model(recipe.model, 3, weights).eval()
    assert isinstance(model, FrozenWithHead)
    if isinstance(model.head, NearestNeighbors):
        features = image_features(model.features, IMAGES, flip=True)
        model.head.remember(features, torch.tensor([0, 1, 2, 1]))
    save_model(tmp_path / "model.safetensors", model, description(recipe))
    loaded, about = load_model(tmp_path / "model.safetensors")
    assert about.model == frozen(head, flip=True).model.model_copy(update={"on": about.model.on})
    assert about.model.on.weights is None
    # Its batch normalization is folded.
    torch.testing.assert_close(loaded(IMAGES), model(IMAGES), atol=1e-4, rtol=1e-4)


def neighbors(k: int, features: torch.Tensor, labels: torch.Tensor) -> NearestNeighbors:
    options = KNNHead(neighbors=k, temperature=0.2)
    head = NearestNeighbors(options, features.shape[1], 3)
    head.remember(features, labels)
    return head


@pytest.mark.parametrize("k", [1, 4, 100])
def test_neighbors_vote_as_by_brute_force(k: int) -> None:
    generator = torch.Generator().manual_seed(1)
    known, new = torch.randn(20, 5, generator=generator), torch.randn(6, 5, generator=generator)
    labels = torch.randint(3, (20,), generator=generator)
    shares = neighbors(k, known, labels)(new).softmax(dim=1)
    for image, share in zip(new, shares, strict=True):
        cosines = F.cosine_similarity(image[None], known)
        votes = torch.zeros(3)
        for row in cosines.argsort(descending=True)[:k]:
            votes[labels[row]] += (cosines[row] / 0.2).exp()
        torch.testing.assert_close(share, votes / votes.sum(), atol=0.005, rtol=0.01)


def test_neighbors_with_several_labels() -> None:
    known = torch.eye(4)
    labels = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]], dtype=torch.uint8)
    shares = neighbors(2, known, labels)(torch.tensor([[1.0, 1.0, 0.0, 0.0]])).sigmoid()
    torch.testing.assert_close(shares, torch.tensor([[1.0, 0.5, 0.0]]), atol=0.004, rtol=0)


def test_an_image_does_not_vote_for_itself() -> None:
    head = neighbors(1, torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([0, 1, 2]))
    logits = head(head.embeddings, left_out=torch.arange(3))
    assert logits.argmax(dim=1).tolist() == [1, 0, 1]
