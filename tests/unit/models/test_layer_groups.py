"""The layers of networks, from the stem to the head."""

import pytest

from imagepipe.config import recipe
from imagepipe.models.create import create_model
from imagepipe.models.layer_groups import layer_depths

LAYERS = {
    # A convolution and its normalization; eight blocks; the head.
    "resnet18": ["conv1", "bn1", "layer1.0", "layer1.1", "layer2.0", "layer4.1", "fc"],
    "mobilenet_v3_small": [
        "features.0",
        "features.1",
        "features.11",
        "features.12",
        "classifier.3",
    ],
    "densenet121": ["features.conv0", "features.denseblock1.denselayer1", "classifier"],
    "swin_t": ["features.0", "features.1.0", "features.1.1", "features.2", "norm", "head"],
    "vit_b_32": ["class_token", "encoder.layers.encoder_layer_0", "encoder.ln", "heads.head"],
    "googlenet": ["conv1", "inception3a", "inception5b", "fc"],
}
DEPTHS = {
    "resnet18": [0, 0, 1, 2, 3, 8, 9],
    "mobilenet_v3_small": [0, 1, 11, 12, 14],
    "densenet121": [0, 1, 62],
    "swin_t": [0, 1, 2, 3, 15, 16],
    "vit_b_32": [0, 1, 12, 13],
    "googlenet": [0, 3, 11, 12],
}


@pytest.mark.parametrize("architecture", LAYERS)
def test_layers_of_torchvision_are_blocks_in_their_order(architecture: str) -> None:
    depths = layer_depths(create_model(recipe.Torchvision(architecture=architecture), 3))
    found = [
        {depth for name, depth in depths.items() if name == layer or name.startswith(f"{layer}.")}
        for layer in LAYERS[architecture]
    ]
    assert found == [{depth} for depth in DEPTHS[architecture]]
    assert set(depths.values()) == set(range(max(depths.values()) + 1))


def test_layers_of_timm_are_those_that_it_says() -> None:
    model = create_model(recipe.Timm(architecture="test_vit"), 3)
    depths = layer_depths(model)
    assert depths.keys() == {name for name, _ in model.named_parameters()}
    names = ("cls_token", "pos_embed", "blocks.0.mlp.fc1.weight", "norm.bias", "head.weight")
    assert [depths[name] for name in names] == [0, 0, 1, 6, 7]


def test_layers_of_the_workflows_own_networks() -> None:
    depths = layer_depths(create_model(recipe.D2LResNet18(), 3))
    names = ("stem.0.weight", "stem.1.bias", "stages.0.conv1.weight", "classifier.bias")
    assert [depths[name] for name in names] == [0, 0, 1, 9]
