"""The head of a network: its last layer, or layers, which give the logits."""

from collections.abc import Iterable, Sequence

from torch import nn


class HiddenLayerHead(nn.Sequential):
    """A linear layer to `units` features, ReLU, and a linear layer in the place of `last`.

    The layers are 1×1 convolutions if the last one is.
    """

    def __init__(self, last: nn.Linear | nn.Conv2d, units: int) -> None:
        if isinstance(last, nn.Conv2d):
            layers: list[nn.Module] = [
                nn.Conv2d(last.in_channels, units, kernel_size=1),
                nn.Conv2d(units, last.out_channels, kernel_size=1),
            ]
        else:
            layers = [nn.Linear(last.in_features, units), nn.Linear(units, last.out_features)]
        super().__init__(layers[0], nn.ReLU(), layers[1])


def head_names(model: nn.Module) -> list[str]:
    """Return the names of the modules that form a network's head; a few networks have two.

    These are what timm's `get_classifier` returns. Of other networks it is the last linear layer,
    or without one the last convolution, with its hidden layer.
    """
    names = {module: name for name, module in model.named_modules()}
    get_classifier = getattr(model, "get_classifier", None)
    if get_classifier is not None:
        heads = get_classifier()
        return [names[head] for head in (heads if isinstance(heads, tuple) else (heads,))]
    for kind in (HiddenLayerHead, nn.Linear, nn.Conv2d):
        if found := [name for module, name in names.items() if isinstance(module, kind)]:
            return found[-1:]
    return []


def is_in(name: str, modules: Iterable[str]) -> bool:
    """Say whether a parameter or module belongs to one of these modules of a network."""
    return any(module in ("", name) or name.startswith(f"{module}.") for module in modules)


def last_layers(model: nn.Module, heads: Sequence[str]) -> list[str]:
    """Return the name of the last linear layer or convolution of each head."""
    kinds = (nn.Linear, nn.Conv2d)
    layers = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    return [[name for name in layers if is_in(name, [head])][-1] for head in heads]


def add_hidden_layer(model: nn.Module, units: int) -> None:
    """Put a linear layer to `units` features and ReLU before a network's last layer."""
    for name in last_layers(model, head_names(model)):
        last = model.get_submodule(name)
        assert isinstance(last, nn.Linear | nn.Conv2d)
        model.set_submodule(name, HiddenLayerHead(last, units))
