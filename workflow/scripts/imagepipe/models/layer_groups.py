"""The layers of a network in their order, for learning rates that fall towards the first one."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from imagepipe.models.heads import head_names, is_in

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def layer_depths(model: nn.Module) -> dict[str, int]:
    """Return the layer of each parameter by its name: 0 is the stem, the largest is the head.

    A layer is a residual block or its like, and what lies between two of them belongs to the first
    one. timm's networks say so themselves (`group_matcher`).
    """
    heads = head_names(model)
    names = [name for name, _ in model.named_parameters()]
    depths = timm_depths(model) if hasattr(model, "group_matcher") else block_depths(model)
    layers = sorted({depths[name] for name in names if not is_in(name, heads)})
    return {
        name: len(layers) if is_in(name, heads) else layers.index(depths[name]) for name in names
    }


def timm_depths(model: Any) -> dict[str, int]:
    """Return the layer of each parameter of a timm network."""
    # Imported only here: it takes seconds.
    from timm.models import group_parameters

    depths: dict[str, int] = group_parameters(
        model, model.group_matcher(coarse=False), reverse=True
    )
    return depths


def block_depths(model: nn.Module) -> dict[str, int]:
    """Return the layer of each parameter; those outside of blocks, such as tokens, are in the stem.

    Blocks without a matrix or a filter, such as normalizations, belong to the layer before them.
    """
    depths = {name: 0 for name, _ in model.named_parameters()}
    depth = -1
    for name in block_names(model):
        parameters = dict(model.get_submodule(name).named_parameters(prefix=name))
        depth += any(parameter.dim() > 1 for parameter in parameters.values())
        depths |= dict.fromkeys(parameters, max(0, depth))
    return depths


def block_names(model: nn.Module) -> Iterator[str]:
    """Yield the names of a network's blocks, in the order in which it names them.

    Blocks are the items of its lists. A module outside of lists is a block, too, unless most of the
    network is in it, such as the encoder of a transformer.
    """
    num_weights = {
        module: sum(parameter.numel() for parameter in module.parameters())
        for module in model.modules()
    }

    def walk(module: nn.Module, prefix: str) -> Iterator[str]:
        for child_name, child in module.named_children():
            is_trunk = (
                not isinstance(module, CONTAINERS)
                and 2 * num_weights[child] > num_weights[model]
                and any(child.children())
            )
            if isinstance(child, CONTAINERS) or is_trunk:
                yield from walk(child, f"{prefix}{child_name}.")
            else:
                yield f"{prefix}{child_name}"

    return walk(model, "")
