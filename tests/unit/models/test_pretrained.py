"""Pretrained weights in a network: exactly the file's, but for the head; wrong ones are refused."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imagepipe.config.recipe import Timm, Torchvision
from imagepipe.errors import UserError
from imagepipe.models.create import create_model
from imagepipe.models.heads import head_names

NETWORKS = [
    Timm(architecture="test_resnet"),
    Timm(architecture="test_efficientnet"),
    Timm(architecture="test_vit"),
    Torchvision(architecture="mobilenet_v3_small"),
    Torchvision(architecture="squeezenet1_1"),
    Torchvision(architecture="googlenet"),
]


def library_model(options: Timm | Torchvision, **arguments: Any) -> nn.Module:
    """Return the library's own network with random weights and statistics, for 1000 classes."""
    torch.manual_seed(1)
    if isinstance(options, Timm):
        model: nn.Module = timm.create_model(options.architecture, **arguments)
    else:
        model = torchvision.models.get_model(options.architecture, **arguments)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point() and tensor.dim() < 2:
            tensor.normal_(1.0, 0.1)
    return model.eval()


def save_weights(model: nn.Module, path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


def without_heads(model: nn.Module) -> nn.Module:
    for name in head_names(model):
        model.set_submodule(name, nn.Identity())
    return model.eval()


@pytest.mark.parametrize("hidden_units", [None, 4])
@pytest.mark.parametrize("options", NETWORKS, ids=lambda options: options.architecture)
def test_features_are_those_of_the_librarys_own_network(
    options: Timm | Torchvision, hidden_units: int | None, tmp_path: Path
) -> None:
    # The record of GoogLeNet's weights has the normalization that suits this.
    is_googlenet = options.architecture == "googlenet"
    arguments = {"aux_logits": False, "init_weights": False} if is_googlenet else {}
    library = library_model(options, **arguments)
    weights = save_weights(library, tmp_path / "weights.safetensors")
    images = torch.randn(2, 3, 160 if options.architecture == "test_vit" else 64, 160)
    options = options.model_copy(update={"hidden_units": hidden_units})
    model = create_model(options, 3, weights, tuple(images.shape[2:]))
    assert model.eval()(images).shape == (2, 3)
    with torch.no_grad():
        assert torch.equal(without_heads(model)(images), without_heads(library)(images))


def test_the_head_is_new_and_drawn_from_the_seed(tmp_path: Path) -> None:
    options = Timm(architecture="test_resnet")
    weights = save_weights(library_model(options), tmp_path / "weights.safetensors")
    heads = []
    for path in (weights, None):
        torch.manual_seed(3)
        heads.append(create_model(options, 1000, path).get_parameter("fc.weight"))
    assert torch.equal(*heads)
    assert not torch.equal(heads[0], load_file(weights)["fc.weight"])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (Timm(architecture="test_vit"), "pos_embed"),
        (Torchvision(architecture="vit_b_32"), "encoder.pos_embedding"),
    ],
)
def test_position_embeddings_are_resized(
    options: Timm | Torchvision, name: str, tmp_path: Path
) -> None:
    library = library_model(options)
    with torch.no_grad():
        library.get_parameter(name).copy_(library.get_parameter(name).mean(dim=1, keepdim=True))
    weights = save_weights(library, tmp_path / "weights.safetensors")
    model = create_model(options, 3, weights, (64, 64))
    resized = model.get_parameter(name)
    assert resized.shape[1] < library.get_parameter(name).shape[1]
    expected = library.get_parameter(name)[:, :1].expand_as(resized)
    torch.testing.assert_close(resized, expected, rtol=1e-4, atol=1e-5)
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def lacking(tensors: dict[str, Tensor]) -> None:
    del tensors["layer1.0.conv1.weight"], tensors["bn1.bias"]


def of_another_network(tensors: dict[str, Tensor]) -> None:
    tensors["blocks.0.weight"] = torch.zeros(2)


def of_another_shape(tensors: dict[str, Tensor]) -> None:
    tensors["bn1.bias"] = torch.zeros(2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lacking, "it lacks bn1.bias and 1 more"),
        (of_another_network, "it has blocks.0.weight, which the network lacks"),
        (of_another_shape, "it has another shape of bn1.bias"),
    ],
)
def test_weights_of_another_network_are_a_user_error(
    damage: Any, words: str, tmp_path: Path
) -> None:
    options, path = Timm(architecture="test_resnet"), tmp_path / "weights.safetensors"
    tensors = library_model(options).state_dict()
    damage(tensors)
    save_file(tensors, path)
    with pytest.raises(UserError, match=f"weights.safetensors: does not hold .*: {words}$"):
        create_model(options, 3, path)


def test_a_file_that_is_no_file_of_weights_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for content in (b"", b"no weights"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"weights.safetensors: cannot be read"):
            create_model(Timm(architecture="test_resnet"), 3, path)
    path.unlink()
    with pytest.raises(UserError, match=r"weights.safetensors: cannot be read"):
        create_model(Timm(architecture="test_resnet"), 3, path)


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    options, path = Timm(architecture="test_resnet"), tmp_path / "weights.safetensors"
    tensors = library_model(options).state_dict()
    save_file({name: t for name, t in tensors.items() if "num_batches" not in name}, path)
    create_model(options, 3, path)
