"""Which layers give the logits, and hidden layers before the last one."""

import pytest
import torch

from imagepipe.config import recipe
from imagepipe.models.create import create_model
from imagepipe.models.heads import head_names, is_in

TORCHVISION = {
    "alexnet": "classifier.6",
    "squeezenet1_1": "classifier.1",
    "resnet18": "fc",
    "densenet121": "classifier",
    "mobilenet_v3_small": "classifier.3",
    "shufflenet_v2_x0_5": "fc",
}


@pytest.mark.parametrize("hidden_units", [None, 5])
@pytest.mark.parametrize(("architecture", "head"), TORCHVISION.items())
def test_the_head_is_the_last_layer_with_its_hidden_layer(
    architecture: str, head: str, hidden_units: int | None
) -> None:
    options = recipe.Torchvision(architecture=architecture, hidden_units=hidden_units)
    model = create_model(options, 7)
    assert head_names(model) == [head]
    shapes = [
        tuple(parameter.shape[:2])
        for name, parameter in model.named_parameters()
        if is_in(name, [head]) and parameter.dim() > 1
    ]
    inputs = shapes[0][1]
    assert shapes == ([(7, inputs)] if hidden_units is None else [(5, inputs), (7, 5)])
    assert model.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize(
    ("architecture", "heads"),
    [
        ("test_resnet", ["fc"]),
        ("test_vit", ["head"]),
        ("test_convnext", ["head.fc"]),
        ("deit_tiny_distilled_patch16_224", ["head", "head_dist"]),
    ],
)
def test_timm_says_what_the_head_is(architecture: str, heads: list[str]) -> None:
    for hidden_units in (None, 5):
        options = recipe.Timm(architecture=architecture, hidden_units=hidden_units)
        model = create_model(options, 7, None, (32, 32))
        assert head_names(model) == heads
        assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    "options", [recipe.SmallCNN(), recipe.Airbench(), recipe.WideResNet(depth=10)]
)
def test_the_workflows_own_networks_have_a_head(options: recipe.Model) -> None:
    assert head_names(create_model(options, 3)) == ["classifier"]
