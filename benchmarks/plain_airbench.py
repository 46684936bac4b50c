"""The plain way that recipe `fast` is compared with: airbench94 with Muon, as published.

A transcription of the program of Keller Jordan (https://github.com/KellerJordan/cifar10-airbench,
airbench94_muon.py; arXiv 2404.00498) for any device: the same network, numbers and order of things,
in bfloat16 by autocast where the program has halves. Nothing of imagepipe is used.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH_SIZE, EPOCHS, WHITENING_EPOCHS = 2000, 8, 3
FILTER_LR, BIAS_LR, HEAD_LR, WEIGHT_DECAY = 0.24, 0.053, 0.67, 2e-6 * BATCH_SIZE
MEANS, DEVIATIONS = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding="same", bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer


def norm(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad = False
    return layer


class PlainAirbench(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad = False
        layers: list[nn.Module] = [nn.GELU()]
        for inputs, outputs in ((24, 64), (64, 256), (256, 256)):
            layers += [convolution(inputs, outputs), nn.MaxPool2d(2), norm(outputs), nn.GELU()]
            layers += [convolution(outputs, outputs), norm(outputs), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten())
        self.head = nn.Linear(256, 10, bias=False)
        self.head.weight.data /= self.head.weight.data.std()

    def forward(self, x: Tensor, train_whitening_bias: bool = True) -> Tensor:
        bias = self.whiten.bias
        assert bias is not None
        x = F.conv2d(x, self.whiten.weight, bias if train_whitening_bias else bias.detach())
        logits: Tensor = self.head(self.layers(x)) / 256
        return logits


def init_whitening(layer: nn.Conv2d, images: Tensor) -> None:
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).transpose(1, 3).reshape(-1, 12).float()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = vectors.T.reshape(12, 3, 2, 2) / (values + 5e-4).sqrt()[:, None, None, None]
    layer.weight.data[:] = torch.cat((filters, -filters))


def orthogonal(gradient: Tensor) -> Tensor:
    x = gradient.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    for _ in range(3):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    result: Tensor = (x.T if tall else x).float()
    return result


@torch.no_grad()
def muon_step(filters: list[nn.Parameter], velocities: list[Tensor], lr: float) -> None:
    for parameter, velocity in zip(filters, velocities, strict=True):
        assert parameter.grad is not None
        velocity.mul_(0.6).add_(parameter.grad)
        gradient = parameter.grad.add(velocity, alpha=0.6)
        parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
        update = orthogonal(gradient.reshape(len(gradient), -1)).view(gradient.shape)
        parameter.add_(update, alpha=-lr)


def normalised(images: Tensor) -> Tensor:
    """Return float images [N, 3, 32, 32], channels last, of uint8 images [N, 32, 32, 3]."""
    means = torch.tensor(MEANS, device=images.device)
    deviations = torch.tensor(DEVIATIONS, device=images.device)
    return ((images / 255 - means) / deviations).permute(0, 3, 1, 2)


def half_mirrored(images: Tensor, padding: int) -> Tensor:
    """Normalise images, mirror half of them, and let each be reflected at its edges."""
    whole = normalised(images)
    mirrored = torch.rand(len(whole), device=whole.device) < 0.5
    whole = torch.where(mirrored[:, None, None, None], whole.flip(-1), whole)
    return F.pad(whole, (padding,) * 4, "reflect")


def shifted(padded: Tensor) -> Tensor:
    """Cut 32×32 pixels out of images of 36×36, each somewhere else."""
    shifts = torch.randint(0, 5, (len(padded), 2), device=padded.device)
    result = torch.empty_like(padded[:, :, :32, :32])
    for down in range(5):
        for right in range(5):
            mask = (shifts[:, 0] == down) & (shifts[:, 1] == right)
            result[mask] = padded[mask, :, down : down + 32, right : right + 32]
    return result


def train_plain_airbench(images: Tensor, labels: Tensor, seed: int) -> PlainAirbench:
    """Train on uint8 images [N, 32, 32, 3], on their own device; N is 2,000 at least."""
    torch.manual_seed(seed)
    net = PlainAirbench().to(images.device)
    net.to(memory_format=torch.channels_last)
    init_whitening(net.whiten, normalised(images[:5000]))
    steps_per_epoch = len(images) // BATCH_SIZE
    steps, whitening_steps = EPOCHS * steps_per_epoch, WHITENING_EPOCHS * steps_per_epoch
    filters = [p for p in net.parameters() if p.dim() == 4 and p.requires_grad]
    velocities = [torch.zeros_like(parameter) for parameter in filters]
    norm_biases = [
        m.bias for m in net.layers if isinstance(m, nn.BatchNorm2d) and m.bias is not None
    ]
    assert net.whiten.bias is not None
    groups = [
        {"params": [net.whiten.bias], "lr": BIAS_LR, "weight_decay": WEIGHT_DECAY / BIAS_LR},
        {"params": norm_biases, "lr": BIAS_LR, "weight_decay": WEIGHT_DECAY / BIAS_LR},
        {"params": [net.head.weight], "lr": HEAD_LR, "weight_decay": WEIGHT_DECAY / HEAD_LR},
    ]
    sgd = torch.optim.SGD(groups, momentum=0.85, nesterov=True, fused=True)
    rates = [BIAS_LR, BIAS_LR, HEAD_LR]
    padded = half_mirrored(images, padding=2)
    step = 0
    for epoch in range(EPOCHS):
        augmented = shifted(padded)
        augmented = augmented.flip(-1) if epoch % 2 else augmented
        order = torch.randperm(len(images), device=images.device)
        for rows in torch.split(order, BATCH_SIZE)[:steps_per_epoch]:
            batch = augmented[rows].contiguous(memory_format=torch.channels_last)
            with torch.autocast(images.device.type, dtype=torch.bfloat16):
                logits = net(batch, step < whitening_steps)
            loss = F.cross_entropy(
                logits.float(), labels[rows], label_smoothing=0.2, reduction="sum"
            )
            net.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            left = 1 - step / steps
            parts = [max(0.0, 1 - step / whitening_steps), left, left]
            for group, rate, part in zip(sgd.param_groups, rates, parts, strict=True):
                group["lr"] = rate * part
            sgd.step()
            muon_step(filters, velocities, FILTER_LR * left)
            step += 1
    if not math.isfinite(loss.item()):
        raise ValueError("the plain training has diverged")
    return net


@torch.inference_mode()
def predict_plain(net: nn.Module, images: Tensor) -> Tensor:
    """Return logits, the mean over mirrored and shifted views, as published (tta_level 2)."""
    net.eval()

    def mirror(views: Tensor) -> Tensor:
        views = views.contiguous(memory_format=torch.channels_last)
        logits: Tensor = (net(views) + net(views.flip(-1))).float() / 2
        return logits

    results = []
    with torch.autocast(images.device.type, dtype=torch.bfloat16):
        for batch in torch.split(normalised(images), 500):
            padded = F.pad(batch, (1, 1, 1, 1), "reflect")
            moved = (mirror(padded[..., :32, :32]) + mirror(padded[..., 2:, 2:])) / 2
            results.append((mirror(batch) + moved) / 2)
    return torch.cat(results)
