"""The optimizer, its parameter groups and their learning rates."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imagepipe.config.recipe import SGD, AdamW, Freeze, Recipe
from imagepipe.config.recipe import Muon as MuonOptions
from imagepipe.errors import UserError
from imagepipe.models.heads import head_names, is_in
from imagepipe.models.layer_groups import layer_depths
from imagepipe.training.muon import Muon, ParameterGroup

Optimizer = Muon | torch.optim.Optimizer
AnyOptimizer = SGD | AdamW | MuonOptions

# Parts of the names of parameters that are no matrices, whatever their number of dimensions:
# tokens, embeddings of positions, and the scales of layers.
WITHOUT_DECAY = ("token", "pos_emb", "position_bias", "rel_pos", "layer_scale", "gamma")


def create_optimizer(model: nn.Module, recipe: Recipe, precision: str) -> Optimizer:
    """Return the optimizer of a recipe, for a model that is on its device.

    Its parameter groups have `initial_lr`, the highest rate; `freeze_after`, the fraction of the
    training after which the recipe's `freeze` stops them; and `frozen_epochs`, after which they
    start. Their `lr` is set by `set_lr`; on a GPU it is a tensor, which CUDA graphs read.
    Parameters that require no gradient are left out. Muon iterates in bf16 where the network
    computes in it, else in fp32. Raises `UserError` if `freeze` names no parameter.
    """
    options = recipe.optimizer
    device = next(model.parameters()).device
    groups = parameter_groups(model, recipe)
    for group in groups:
        group["lr"] = torch.zeros((), device=device) if device.type == "cuda" else 0.0
    if isinstance(options, MuonOptions):
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return Muon(groups, options.ns_steps, dtype)
    if isinstance(options, AdamW):
        decay, on_gpu = options.weight_decay, device.type == "cuda"
        return torch.optim.AdamW(groups, weight_decay=decay, fused=True, capturable=on_gpu)
    return torch.optim.SGD(
        groups,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        # The fused one would update the momentum even in steps that fp16's loss scaling skips.
        fused=precision != "fp16",
    )


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[ParameterGroup]:
    """Return groups of parameters with the same options.

    Muon has three kinds of parameters: convolution filters, the weights of the head's linear layers
    ("head"), and the rest. With `fine_tune`, a layer's rate falls with its distance from the head,
    and Muon keeps the norms of the pretrained filters, and applies no weight decay to
    normalizations and biases.
    """
    options, fine_tune = recipe.optimizer, recipe.fine_tune
    check_freeze(model, recipe.freeze)
    heads = head_names(model)
    depths = layer_depths(model) if fine_tune else {}
    members: dict[GroupKey, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        in_head = is_in(name, heads)
        ends = [item.after for item in recipe.freeze if name.startswith(item.parameters)]
        distance = max(depths.values()) - depths[name] if fine_tune else 0
        key = GroupKey(
            kind=parameter_kind(parameter, options, in_head=in_head),
            freeze_after=min(ends, default=1.0),
            frozen_epochs=fine_tune.frozen_epochs if fine_tune and not in_head else 0,
            lr_fraction=fine_tune.lr_decay_by_layer**distance if fine_tune else 1.0,
            head_lr=fine_tune.head_lr if fine_tune and in_head else None,
            has_decay=decays(name, parameter, recipe),
        )
        members[key].append(parameter)
    return [
        {
            "params": parameters,
            "freeze_after": key.freeze_after,
            "frozen_epochs": key.frozen_epochs,
            **group_options(key, recipe),
        }
        for key, parameters in members.items()
    ]


class GroupKey(NamedTuple):
    """What the parameters of a group share.

    lr_fraction: their rate as a fraction of that of the recipe's optimizer. head_lr: the rate to
    take instead, if the recipe gives one.
    """

    kind: str
    freeze_after: float
    frozen_epochs: int
    lr_fraction: float
    head_lr: float | None
    has_decay: bool


def check_freeze(model: nn.Module, freeze: Sequence[Freeze]) -> None:
    """Raise `UserError` if `freeze` names no parameter."""
    names = [name for name, _ in model.named_parameters()]
    for item in freeze:
        if not any(name.startswith(item.parameters) for name in names):
            raise UserError(
                f"recipe: freeze: no parameter's name begins with {item.parameters!r}; known: "
                + ", ".join(sorted({name.partition(".")[0] for name in names}))
            )


def parameter_kind(parameter: Tensor, options: AnyOptimizer, *, in_head: bool) -> str:
    """Return for Muon "filters", "head" or "rest", else "all"."""
    if not isinstance(options, MuonOptions):
        return "all"
    if parameter.dim() == 4:
        return "filters"
    return "head" if in_head and parameter.dim() == 2 else "rest"


def decays(name: str, parameter: Tensor, recipe: Recipe) -> bool:
    """Say whether weight decay is applied to a parameter."""
    options = recipe.optimizer
    if isinstance(options, MuonOptions):
        everywhere = recipe.fine_tune is None
    else:
        everywhere = options.decay_norms_and_biases
    is_matrix = parameter.dim() > 1 and not any(
        word in name.rpartition(".")[2] for word in WITHOUT_DECAY
    )
    return everywhere or is_matrix


def group_options(key: GroupKey, recipe: Recipe) -> ParameterGroup:
    """Return the options of a group, as the optimizer holds them."""
    options = recipe.optimizer
    no_decay = {} if key.has_decay else {"weight_decay": 0.0}
    if not isinstance(options, MuonOptions):
        return {"initial_lr": key.head_lr or options.lr * key.lr_fraction, **no_decay}
    if key.kind == "filters":
        return {
            "initial_lr": key.head_lr or options.lr * key.lr_fraction,
            "momentum": options.momentum,
            "orthogonal": True,
            "keeps_norm": recipe.fine_tune is not None,
        }
    lr = key.head_lr or (options.rest.head_lr if key.kind == "head" else options.rest.lr)
    return {
        "initial_lr": lr * key.lr_fraction,
        "momentum": options.rest.momentum,
        # The recipe gives the fraction by which a step at the highest rate shrinks a parameter.
        "weight_decay": options.weight_decay / lr,
        **no_decay,
    }


def set_lr(optimizer: Optimizer, lr_scale: Callable[[float, int], float]) -> None:
    """Set the learning rates of a step; parameters with a rate of 0 are frozen.

    `lr_scale` maps a group's `freeze_after` and `frozen_epochs` to a fraction of its highest rate.
    """
    for group in optimizer.param_groups:
        lr = group["initial_lr"] * lr_scale(group["freeze_after"], group["frozen_epochs"])
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
        for parameter in group["params"]:
            parameter.requires_grad_(lr > 0)


def load_state(optimizer: Optimizer, state: Any) -> None:
    """Load the "state" of another optimizer's state_dict, maybe from another device."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def num_frozen(optimizer: Optimizer) -> int:
    """Return the number of parameters that are frozen now."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return sum(not parameter.requires_grad for parameter in parameters)


def clip_gradients(optimizer: Optimizer, max_norm: float) -> None:
    """Scale the gradients of all parameters down to a norm of `max_norm`, if it is larger.

    Nothing waits for the device. Raises no error for gradients that are not finite.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, max_norm)
