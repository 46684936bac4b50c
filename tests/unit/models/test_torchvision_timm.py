"""Networks of torchvision and timm by name: what a recipe asks for, and mistakes in one line."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from imagepipe.config.recipe import Timm, Torchvision
from imagepipe.errors import UserError
from imagepipe.models import torchvision_timm
from imagepipe.models.create import create_model
from imagepipe.models.torchvision_timm import (
    DROP_PATH,
    adapt_stem,
    check_library_model,
    create_library_model,
)


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


def test_an_original_stem_stays() -> None:
    model = create_model(Torchvision(architecture="resnet18"), 7)
    assert size_before(model, "layer1") == 8


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (Torchvision(architecture="squeezenet1_1"), (16, 16)),
        (Timm(architecture="test_vit"), (36, 36)),
        (Timm(architecture="test_efficientnet", stem="small", drop_path=0.1), (0, 1)),
    ],
)
def test_an_architecture_for_other_images_is_a_user_error(
    options: Torchvision | Timm, size: tuple[int, int]
) -> None:
    with pytest.raises(UserError, match=f"{options.architecture} does not take images of "):
        check_library_model(options, 10, size)


def test_the_smallest_size_of_progressive_resizing_is_checked_too() -> None:
    options = Timm(architecture="test_vit")
    check_library_model(options, 10, (32, 48))
    with pytest.raises(UserError, match="test_vit does not take images of 16×24 pixels"):
        check_library_model(options, 10, (32, 48), (16, 24))


def test_an_architecture_with_several_outputs_is_a_user_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torchvision_timm, "create_library_model", lambda *_, **__: lambda x: (x, x))
    with pytest.raises(UserError, match="resnet18 gives more than logits in training"):
        check_library_model(Torchvision(), 10, (8, 8))


def test_auxiliary_heads_are_left_out() -> None:
    model = create_library_model(Torchvision(architecture="googlenet"), 3)
    assert model.train()(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    assert not model.transform_input


@pytest.mark.parametrize(
    "options",
    [Timm(architecture="test_resnet"), Torchvision(architecture="efficientnet_b0")],
    ids=lambda options: options.name,
)
def test_drop_path_is_that_of_the_recipe(options: Torchvision | Timm) -> None:
    for drop_path in (0.2, 0.0):
        model = create_library_model(options.model_copy(update={"drop_path": drop_path}), 3)
        largest = max(
            (
                getattr(module, DROP_PATH[type(module).__name__])
                for module in model.modules()
                if type(module).__name__ in DROP_PATH
            ),
            default=0.0,
        )
        assert largest == pytest.approx(drop_path, rel=0.1)


def test_drop_path_of_a_network_without_it_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"model.drop_path: is 0.1, but resnet18 .* set it to 0"):
        create_library_model(Torchvision(architecture="resnet18", drop_path=0.1), 3)


def test_networks_for_images_of_one_size_are_made_for_those_of_the_recipe() -> None:
    assert create_library_model(Timm(architecture="test_vit"), 3, None, (32, 64))(
        torch.zeros(2, 3, 32, 64)
    ).shape == (2, 3)
    with pytest.raises(UserError, match="vit_b_16 of torchvision takes square images only"):
        create_library_model(Torchvision(architecture="vit_b_16"), 3, None, (32, 64))


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
