"""Networks of torchvision and timm by name: their stems are fitted, and mistakes are one line."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from imagepipe.config.recipe import Timm, Torchvision
from imagepipe.errors import UserError
from imagepipe.models.create import create_model
from imagepipe.models.torchvision_timm import adapt_stem, check_library_model, create_library_model


def size_before(model: nn.Module, layer: str) -> int:
    """Return the size that an image of 32 pixels has where it enters a layer."""
    sizes = []
    model.get_submodule(layer).register_forward_pre_hook(
        lambda _, inputs: sizes.append(inputs[0].shape[-1])
    )
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    return int(sizes[0])


@pytest.mark.parametrize(
    ("kind", "architecture", "layer"),
    [
        (Torchvision, "resnet18", "layer1"),
        (Torchvision, "mobilenet_v3_small", "features.1"),
        (Torchvision, "densenet121", "features.denseblock1"),
        (Torchvision, "shufflenet_v2_x0_5", "stage2"),
        (Timm, "resnet18", "layer1"),
    ],
)
def test_a_stem_keeps_the_size_of_small_images(
    kind: type[Torchvision | Timm], architecture: str, layer: str
) -> None:
    model = create_model(kind(architecture=architecture, stem="small"), num_classes=7)
    assert size_before(model, layer) == 32
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_a_stem_without_a_stride_stays() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3))
    adapt_stem(model)
    assert isinstance(model[1], nn.MaxPool2d)
    assert model[0].kernel_size == (5, 5)


def test_an_adapted_network_is_deterministic_by_the_global_seed() -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(create_library_model(Torchvision(architecture="resnet18"), 2).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_unknown_architecture_is_a_user_error_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"has no 'resnet81' \(did you mean 'resnet"):
        create_library_model(Torchvision(architecture="resnet81"), 10)


def test_networks_for_other_tasks_are_not_known() -> None:
    with pytest.raises(UserError, match="has no 'fasterrcnn_resnet50_fpn'"):
        create_library_model(Torchvision(architecture="fasterrcnn_resnet50_fpn"), 10)


def test_an_architecture_for_other_images_is_a_user_error() -> None:
    with pytest.raises(UserError, match="vit_b_16 does not take images of 32 pixels"):
        check_library_model(Torchvision(architecture="vit_b_16"), 10, (32, 32))


def test_an_architecture_with_several_outputs_is_a_user_error() -> None:
    with pytest.raises(UserError, match="googlenet gives more than logits in training"):
        check_library_model(Torchvision(architecture="googlenet"), 10, (64, 64))


def test_a_library_that_is_not_installed_is_a_user_error() -> None:
    """In a process of its own, which finds no timm."""
    code = (
        "import sys; sys.modules['timm'] = None\n"
        "from imagepipe.errors import UserError\n"
        "from imagepipe.config.recipe import Timm\n"
        "from imagepipe.models.torchvision_timm import create_library_model\n"
        "try: create_library_model(Timm(), 2)\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "timm is not installed; run `pip install timm`" in done.stdout, done.stderr
