"""Which networks need training images before they start."""

from imagepipe.config import recipe
from imagepipe.models.create import InitializedFromImages, create_model


def test_only_airbench_is_initialized_from_images() -> None:
    assert isinstance(create_model(recipe.Airbench(), 10), InitializedFromImages)
    for options in (recipe.SmallCNN(), recipe.D2LResNet18(), recipe.WideResNet(depth=10)):
        assert not isinstance(create_model(options, 10), InitializedFromImages)
