"""The optimiser, its learning rate over the training, and the loss."""

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagepipe.augmentation.mixing import Mixed
from imagepipe.errors import UserError
from imagepipe.training.muon import Muon


def create_optimizer(
    model: nn.Module, recipe: dict[str, Any], precision: str
) -> Muon | torch.optim.Optimizer:
    """Return the optimiser of a recipe.

    Its parameter groups have `initial_lr`, the highest rate, and `trained_part`, the part of the
    training after which the recipe's `freeze` stops their parameters. Parameters that require no
    gradient are left out. Muon iterates in bf16 where the network computes in it, else in fp32.
    """
    options = recipe["optimizer"]
    groups = parameter_groups(model, options, recipe["freeze"])
    if options["name"] == "muon":
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        return Muon(groups, options["iterations"], dtype)
    if options["name"] == "adamw":
        return torch.optim.AdamW(groups, weight_decay=options["weight_decay"], fused=True)
    if options["name"] == "sgd":
        return torch.optim.SGD(
            groups,
            lr=options["lr"],
            momentum=options["momentum"],
            nesterov=options["nesterov"],
            weight_decay=options["weight_decay"],
            # The fused one would keep the momentum of a step that fp16's scaling leaves out.
            fused=precision != "fp16",
        )
    raise ValueError(f"unknown optimizer {options['name']!r}")


def keep_rates_on(device: torch.device, optimizer: Muon | torch.optim.Optimizer) -> None:
    """Make each group's `lr` a tensor on a GPU, which a CUDA graph of a step reads, else a number.

    Call it before the first step, and after a state was loaded, which may be of another device.
    """
    on_gpu = device.type == "cuda"
    for group in optimizer.param_groups:
        group["lr"] = torch.zeros((), device=device) if on_gpu else 0.0
        if "capturable" in group:
            group["capturable"] = on_gpu


def parameter_groups(
    model: nn.Module, options: dict[str, Any], freeze: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return groups of parameters that have the same options and are trained for the same part.

    With Muon, the filters of convolutions are one kind, the last linear layer another, and all the
    rest a third. Raises `UserError` if `freeze` names no parameter.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    names = [name for name, _ in model.named_parameters()]
    for item in freeze:
        if not any(name.startswith(item["parameters"]) for name in names):
            raise UserError(
                f"recipe: freeze: no parameter's name begins with {item['parameters']!r}; known: "
                + ", ".join(sorted({name.partition(".")[0] for name in names}))
            )
    members: dict[tuple[str, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "rest"
        if parameter.dim() == 4:
            kind = "filters"
        elif linear and name == f"{linear[-1]}.weight":
            kind = "head"
        parts = [item["after"] for item in freeze if name.startswith(item["parameters"])]
        members[kind if options["name"] == "muon" else "all", min(parts, default=1.0)].append(
            parameter
        )
    return [
        {"params": parameters, "trained_part": part, **group_options(kind, options)}
        for (kind, part), parameters in members.items()
    ]


def group_options(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a kind of parameters, as its group in the optimiser holds them."""
    if kind == "all":
        return {"lr": options["lr"], "initial_lr": options["lr"]}
    if kind == "filters":
        rates = {"lr": options["lr"], "initial_lr": options["lr"]}
        return rates | {"momentum": options["momentum"], "orthogonal": True}
    rest = options["rest"]
    rate = rest["head_lr"] if kind == "head" else rest["lr"]
    # The recipe says by how much a step at the highest rate shrinks a parameter.
    return {
        "lr": rate,
        "initial_lr": rate,
        "momentum": rest["momentum"],
        "weight_decay": options["weight_decay"] / rate,
    }


def rate_factor(
    schedule: dict[str, Any], epochs: int, steps_per_epoch: int, step: int, trained_part: float = 1
) -> float:
    """Return the part of the highest learning rate for a step, counted from 0 over the training.

    With `warmup`, the rate first rises linearly from 0 for that part of the training. After it,

    - step: decay^⌊epoch / period⌋, as torch.optim.lr_scheduler.StepLR;
    - linear: falls to 0;
    - cosine: falls to 0 as half a period of the cosine (Loshchilov and Hutter, arXiv 1608.03983,
      without restarts).

    one_cycle is torch.optim.lr_scheduler.OneCycleLR with `warmup` as its pct_start (Smith and
    Topin, arXiv 1708.07120): a cosine from 1/25 up to 1, and one down to 1/250,000.

    Parameters that are trained for a part of the training only have a rate that falls linearly to
    0 at its end. The factor of linear and cosine belongs to the step's middle, so that no step is
    lost.
    """
    total = epochs * steps_per_epoch
    done = (step + 0.5) / total
    if trained_part < 1:
        return max(0.0, 1 - done / trained_part)
    name, warmup = schedule["name"], float(schedule["warmup"])
    if name == "one_cycle":
        return _one_cycle(step, total, warmup)
    if done < warmup:
        return done / warmup
    if name == "step":
        return float(schedule["decay"] ** (step // steps_per_epoch // schedule["period"]))
    falling = (done - warmup) / (1 - warmup)
    if name == "linear":
        return 1 - falling
    if name == "cosine":
        return (1 + math.cos(math.pi * falling)) / 2
    raise ValueError(f"unknown schedule {name!r}")


def _one_cycle(step: int, total: int, warmup: float) -> float:
    low, last = 1 / 25, 1 / 250_000
    top = warmup * total - 1
    if step <= top:
        return low + (1 - low) * (1 - math.cos(math.pi * step / max(top, 1))) / 2
    falling = (step - top) / max(total - 1 - top, 1)
    return last + (1 - last) * (1 + math.cos(math.pi * falling)) / 2


def loss_of_each(logits: Tensor, mixed: Mixed, options: dict[str, Any]) -> Tensor:
    """Return the cross-entropy [B] of float logits [B, classes] with the labels of B images.

    That of a mixed image is the mean, weighted by the shares, of those with the two labels.
    """
    smoothing = options["label_smoothing"]
    losses = F.cross_entropy(logits, mixed.labels, reduction="none", label_smoothing=smoothing)
    if mixed.partner_labels is None or mixed.share is None:
        return losses
    of_partners = F.cross_entropy(
        logits, mixed.partner_labels, reduction="none", label_smoothing=smoothing
    )
    return torch.lerp(of_partners, losses, mixed.share)
