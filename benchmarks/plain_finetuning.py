"""The plain way that benchmarks/pretrained.py compares with: timm as a competent user writes it.

ImageFolder, DataLoader with worker processes, torchvision's transforms, timm's network, AdamW. The
precision and the memory format are those that are fastest. Nothing of imagepipe is used.
"""

import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

Batches = DataLoader[tuple[Tensor, Tensor]]
WORKERS = 2


class PlainNetwork:
    """A timm network that computes in bf16 or fp32, channels_last or not, whatever is fastest.

    num_classes: 0 gives the features.
    """

    def __init__(self, architecture: str, num_classes: int, batch_size: int, size: int) -> None:
        self.images = torch.randn(batch_size, 3, size, size)
        self.num_classes = num_classes
        speeds = {}
        for bf16, format_ in itertools.product(
            (False, True), (torch.contiguous_format, torch.channels_last)
        ):
            self.bf16, self.format = bf16, format_
            self.net: nn.Module = timm.create_model(architecture, num_classes=num_classes)
            self.net.to(memory_format=format_)
            speeds[bf16, format_] = min(self.seconds() for _ in range(4))
        self.bf16, self.format = min(speeds, key=speeds.__getitem__)
        self.net.to(memory_format=self.format)
        self.trainer = torch.optim.AdamW(self.net.parameters(), lr=1e-4, weight_decay=0.05)

    def __str__(self) -> str:
        format_ = str(self.format).removeprefix("torch.")
        return f"{'bf16' if self.bf16 else 'fp32'}, {format_}"

    def seconds(self) -> float:
        """Return the seconds of a batch, and if the network has classes, of its gradients."""
        start = time.perf_counter()
        if self.num_classes:
            loss = self.loss(self.images, torch.zeros(len(self.images), dtype=torch.int64))
            torch.autograd.backward(loss)
        else:
            self.features(self.images)
        return time.perf_counter() - start

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        self.net.train()
        with self.autocast():
            return F.cross_entropy(self.net(images.to(memory_format=self.format)), labels)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        self.net.eval()
        with self.autocast():
            features: Tensor = self.net(images.to(memory_format=self.format))
        return features.float()

    def train_epoch(self, loader: Batches) -> None:
        """Train all layers for an epoch."""
        total = 0.0
        for images, labels in loader:
            self.trainer.zero_grad()
            loss = self.loss(images, labels)
            torch.autograd.backward(loss)
            self.trainer.step()
            total += loss.item()

    def embed(self, loader: Batches) -> Tensor:
        """Return the features of all images."""
        return torch.cat([self.features(images) for images, _ in loader])


def plain_loader(
    folder: Path, batch_size: int, size: int, mean: list[float], std: list[float], *, train: bool
) -> Batches:
    """Return the batches of a folder of PNG files, augmented and shuffled for training."""
    augmentation: list[Callable[[object], object]] = [
        v2.RandomCrop(size, padding=size // 8, padding_mode="reflect"),
        v2.RandomHorizontalFlip(),
    ]
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((size, size), antialias=True),
            *(augmentation if train else []),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    return DataLoader(
        ImageFolder(folder, transform),
        batch_size,
        shuffle=train,
        drop_last=train,
        num_workers=WORKERS,
        persistent_workers=True,
    )
