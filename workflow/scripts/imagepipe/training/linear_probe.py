"""A first head for fine-tuning: logistic regression on the features of the pretrained network.

Fine-tuning from there distorts the features less than from a random head (Kumar et al., arXiv
2202.10054, "LP-FT").
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from imagepipe.augmentation.randomness import generator
from imagepipe.augmentation.resizing import resize_images
from imagepipe.device.devices import autocast
from imagepipe.errors import UserError
from imagepipe.models.heads import head_names, last_layers
from imagepipe.prediction.features import check_finite
from imagepipe.prediction.predict import images_at_once
from imagepipe.progress import counter
from imagepipe.training.build import Training
from imagepipe.training.logistic_regression import fit_logistic_regression

logger = logging.getLogger(__name__)

# More images hardly change the head, which is only a start.
MAX_IMAGES = 20_000
BATCH_SIZE = 500
# Stronger than is best for predictions: a head that fits all training images leaves the layers
# before it no gradient to learn from.
L2 = 0.25


def start_from_linear_probe(training: Training, stop_if_asked: Callable[[], None]) -> None:
    """Set a network's last layer to a logistic regression on its input, for the training images.

    Each image counts with its mirror image if the recipe flips images. Of several processes, the
    first computes the layer. `stop_if_asked` is called now and then. Raises `UserError` for a
    network whose last layer is not a single linear one, or whose features are not finite.
    """
    last = last_layer(training.model)

    def fit() -> tuple[Tensor, Tensor]:
        features, labels = training_features(training, last, stop_if_asked)
        weight, bias = fit_logistic_regression(
            features,
            labels,
            training.data.num_classes,
            l2=L2,
            loss=training.recipe.loss,
            class_weights=training.class_weights,
            seed=training.spec.seed,
            stop_if_asked=stop_if_asked,
        )
        return weight.cpu(), bias.cpu()

    weight, bias = training.group.from_first(fit)
    last.load_state_dict({"weight": weight, "bias": bias})
    if training.average is not None:
        training.average.restart(training.model)


def last_layer(model: nn.Module) -> nn.Linear:
    """Return a network's last layer. Raises `UserError` if it is not a single linear one."""
    layers = [model.get_submodule(name) for name in last_layers(model, head_names(model))]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear) or layers[0].bias is None:
        raise UserError(
            "recipe: fine_tune.linear_probe: the network's last layer is not a single linear one; "
            "set it to false"
        )
    return layers[0]


@torch.no_grad()
def training_features(
    training: Training, last: nn.Linear, stop_if_asked: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """Return the last layer's input, float32 [N, D], and the labels of the training images.

    With mirror images, N is twice the number of images. Raises `UserError` if a feature is not
    finite.
    """
    data, recipe = training.data, training.recipe
    order = torch.randperm(len(data.train_rows), generator=generator(training.spec.seed, "probe"))
    rows = torch.from_numpy(data.train_rows)[order[:MAX_IMAGES].sort().values]
    features: list[Tensor] = []

    def keep_input(_: nn.Module, inputs: tuple[Tensor]) -> None:
        features.append(inputs[0].float())

    chunks = torch.split(rows, images_at_once(BATCH_SIZE, training.image_size))
    labels = training.labels[rows.to(training.device)]
    was_training = [module for module in training.model.modules() if module.training]
    hook = last.register_forward_pre_hook(keep_input)
    training.model.eval()
    try:
        flips = (False, True) if recipe.augmentation.horizontal_flip else (False,)
        total = len(rows) * len(flips)
        with counter(total=total, description="first head", unit="images") as bar:
            for flip in flips:
                for chunk in chunks:
                    stop_if_asked()
                    images = training.images[chunk.to(training.images.device)]
                    resized = resize_images(
                        images.to(training.device), training.image_size, training.spec.interpolation
                    )
                    batch = training.normalize(resized.permute(0, 3, 1, 2))
                    batch = batch.flip(-1) if flip else batch
                    with autocast(training.device, training.precision):
                        training.model(batch.contiguous(memory_format=torch.channels_last))
                    bar.advance(len(chunk))
    finally:
        hook.remove()
        for module in was_training:
            module.training = True
    inputs = torch.cat(features)
    check_finite(inputs)
    return inputs, labels.repeat(len(flips), *([1] * (labels.dim() - 1)))
