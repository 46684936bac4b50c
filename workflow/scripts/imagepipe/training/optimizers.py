"""The optimizer, its parameter groups and their learning rates."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from imagepipe.config.recipe import SGD, AdamW, Freeze, Recipe
from imagepipe.config.recipe import Muon as MuonOptions
from imagepipe.errors import UserError
from imagepipe.training.muon import Muon, ParameterGroup

Optimizer = Muon | torch.optim.Optimizer


def create_optimizer(model: nn.Module, recipe: Recipe, precision: str) -> Optimizer:
    """Return the optimizer of a recipe, for a model that is on its device.

    Its parameter groups have `initial_lr`, the highest rate, and `freeze_after`, the fraction of
    the training after which the recipe's `freeze` stops them. Their `lr` is set by `set_lr`; on a
    GPU it is a tensor, which CUDA graphs read. Parameters that require no gradient are left out.
    Muon iterates in bf16 where the network computes in it, else in fp32. Raises `UserError` if
    `freeze` names no parameter.
    """
    options = recipe.optimizer
    device = next(model.parameters()).device
    groups = parameter_groups(model, options, recipe.freeze)
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


def parameter_groups(
    model: nn.Module, options: SGD | AdamW | MuonOptions, freeze: Sequence[Freeze]
) -> list[ParameterGroup]:
    """Return groups of parameters with the same options and the same `freeze_after`.

    Muon has three kinds of parameters: convolution filters, the last linear layer ("head"), and the
    rest.
    """
    names = [name for name, _ in model.named_parameters()]
    for item in freeze:
        if not any(name.startswith(item.parameters) for name in names):
            raise UserError(
                f"recipe: freeze: no parameter's name begins with {item.parameters!r}; known: "
                + ", ".join(sorted({name.partition(".")[0] for name in names}))
            )
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    members: dict[tuple[str, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "rest"
        if not isinstance(options, MuonOptions):
            kind = "all"
        elif parameter.dim() == 4:
            kind = "filters"
        elif linear and name == f"{linear[-1]}.weight":
            kind = "head"
        ends = [item.after for item in freeze if name.startswith(item.parameters)]
        members[kind, min(ends, default=1.0)].append(parameter)
    return [
        {"params": parameters, "freeze_after": freeze_after, **group_options(kind, options)}
        for (kind, freeze_after), parameters in members.items()
    ]


def group_options(kind: str, options: SGD | AdamW | MuonOptions) -> ParameterGroup:
    """Return the options of a kind of parameters, as its group in the optimizer holds them."""
    if not isinstance(options, MuonOptions):
        return {"initial_lr": options.lr}
    if kind == "filters":
        return {"initial_lr": options.lr, "momentum": options.momentum, "orthogonal": True}
    lr = options.rest.head_lr if kind == "head" else options.rest.lr
    return {
        "initial_lr": lr,
        "momentum": options.rest.momentum,
        # The recipe gives the fraction by which a step at the highest rate shrinks a parameter.
        "weight_decay": options.weight_decay / lr,
    }


def set_lr(optimizer: Optimizer, lr_scale: Callable[[float], float]) -> None:
    """Set the learning rates of a step; parameters with a rate of 0 are frozen.

    `lr_scale` maps a group's `freeze_after` to a fraction of its highest rate.
    """
    for group in optimizer.param_groups:
        lr = group["initial_lr"] * lr_scale(group["freeze_after"])
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
