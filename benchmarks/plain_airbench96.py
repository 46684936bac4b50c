"""The plain way that recipe `accurate` is compared with: airbench96, as published.

A transcription of the program of Keller Jordan (https://github.com/KellerJordan/cifar10-airbench,
airbench96.py of June 2024; arXiv 2404.00498) for any device: the same network, numbers and order of
things, in bfloat16 by autocast where the program has halves. Nothing of imagepipe is used.
"""

import math

import torch
from plain_airbench import convolution, half_mirrored, init_whitening, normalised
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_SIZE, EPOCHS, WHITENING_EPOCHS = 1024, 31, 3
MOMENTUM, PADDING, CUTOUT = 0.85, 4, 12
# The program's rates are per 1,024 images and for gradients that stay the same.
SCALE = 1024 * (1 + 1 / (1 - MOMENTUM))
LR, WEIGHT_DECAY = 9.0 / SCALE, 0.012 * BATCH_SIZE / SCALE
BIAS_LR = 64 * LR


class Group(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs)
        self.conv2, self.conv3 = convolution(outputs, outputs), convolution(outputs, outputs)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(outputs, eps=1e-12) for _ in range(3))
        for norm in (self.norm1, self.norm2, self.norm3):
            norm.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        first = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        x = F.gelu(self.norm2(self.conv2(first)))
        return F.gelu(self.norm3(self.conv3(x)) + first)


class PlainAirbench96(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        assert self.whiten.bias is not None
        nn.init.zeros_(self.whiten.bias)
        groups = [Group(24, 128), Group(128, 512), Group(512, 512)]
        self.layers = nn.Sequential(nn.GELU(), *groups, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(512, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(self.whiten(x))) / 9
        return logits


def shifted(padded: Tensor) -> Tensor:
    """Cut 32×32 pixels out of images of 40×40, each somewhere else."""
    places = range(2 * PADDING + 1)
    shifts = torch.randint(0, len(places), (len(padded), 2), device=padded.device)
    rows = torch.empty_like(padded[:, :, :32])
    result = torch.empty_like(rows[:, :, :, :32])
    for down in places:
        mask = shifts[:, 0] == down
        rows[mask] = padded[mask, :, down : down + 32]
    for right in places:
        mask = shifts[:, 1] == right
        result[mask] = rows[mask, :, :, right : right + 32]
    return result


def cut_out(images: Tensor) -> Tensor:
    corners = torch.randint(0, 32 - CUTOUT + 1, (2, len(images), 1), device=images.device)
    inside = torch.arange(32, device=images.device) - corners
    rows, columns = (inside >= 0) & (inside < CUTOUT)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def train_plain_airbench96(images: Tensor, labels: Tensor, seed: int) -> PlainAirbench96:
    """Train on uint8 images [N, 32, 32, 3], on their own device; N is 1,024 at least."""
    torch.manual_seed(seed)
    net = PlainAirbench96().to(images.device)
    net.to(memory_format=torch.channels_last)
    init_whitening(net.whiten, normalised(images[:5000]))
    steps_per_epoch = len(images) // BATCH_SIZE
    steps = EPOCHS * steps_per_epoch
    named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    norm_biases = [parameter for name, parameter in named if "norm" in name]
    others = [parameter for name, parameter in named if "norm" not in name]
    groups = [
        {"params": norm_biases, "lr": BIAS_LR, "weight_decay": WEIGHT_DECAY / BIAS_LR},
        {"params": others, "lr": LR, "weight_decay": WEIGHT_DECAY / LR},
    ]
    sgd = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    warm_up = int(steps * 0.1)

    def rate(step: int) -> float:
        if step < warm_up:
            return 0.2 + 0.8 * step / warm_up
        return (steps - step) / (steps - warm_up)

    scheduler = torch.optim.lr_scheduler.LambdaLR(sgd, rate)
    average = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    padded = half_mirrored(images, PADDING)
    assert net.whiten.bias is not None
    step = 0
    for epoch in range(EPOCHS):
        net.whiten.bias.requires_grad = epoch < WHITENING_EPOCHS
        augmented = shifted(padded)
        augmented = cut_out(augmented.flip(-1) if epoch % 2 else augmented)
        order = torch.randperm(len(images), device=images.device)
        for rows in torch.split(order, BATCH_SIZE)[:steps_per_epoch]:
            batch = augmented[rows].contiguous(memory_format=torch.channels_last)
            with torch.autocast(images.device.type, dtype=torch.bfloat16):
                logits = net(batch)
            loss = F.cross_entropy(
                logits.float(), labels[rows], label_smoothing=0.2, reduction="sum"
            )
            sgd.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            sgd.step()
            scheduler.step()
            step += 1
            if step % 5 == 0 or step == steps:
                kept = 1.0 if step == steps else 0.95**5 * (step / steps) ** 3
                look_ahead(net, average, kept)
    if not math.isfinite(loss.item()):
        raise ValueError("the plain training has diverged")
    return net


@torch.no_grad()
def look_ahead(net: nn.Module, average: dict[str, Tensor], kept: float) -> None:
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - kept)
            tensor.copy_(average[name])
