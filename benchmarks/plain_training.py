"""The plain way that the benchmarks compare with: the chapter's network and loop, written as there.

ImageFolder, DataLoader, torchvision's transforms, float32. Nothing of imagepipe is used.
"""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

MEANS, DEVIATIONS = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]


class Residual(nn.Module):
    """The chapter's residual block, in its own words (d2l.Residual)."""

    def __init__(
        self, in_channels: int, num_channels: int, use_1x1conv: bool = False, strides: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, num_channels, kernel_size=3, padding=1, stride=strides)
        self.conv2 = nn.Conv2d(num_channels, num_channels, kernel_size=3, padding=1)
        self.conv3 = (
            nn.Conv2d(in_channels, num_channels, kernel_size=1, stride=strides)
            if use_1x1conv
            else None
        )
        self.bn1, self.bn2 = nn.BatchNorm2d(num_channels), nn.BatchNorm2d(num_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.conv3(x) if self.conv3 else x))


def plain_resnet18(num_classes: int) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 64, kernel_size=3, padding=1), nn.BatchNorm2d(64), nn.ReLU())
    in_channels = 64
    for stage, channels in enumerate((64, 128, 256, 512)):
        halve = stage > 0
        net.append(Residual(in_channels, channels, use_1x1conv=halve, strides=2 if halve else 1))
        net.append(Residual(channels, channels))
        in_channels = channels
    return net.append(
        nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(512, num_classes))
    )


def plain_loader(
    folder: Path, batch_size: int, workers: int = 0, images: int | None = None
) -> "DataLoader[tuple[Tensor, Tensor]]":
    """Return the chapter's training batches of a folder, or of so many of its images, repeated."""
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(40),
            torchvision.transforms.RandomResizedCrop(32, scale=(0.64, 1.0), ratio=(1.0, 1.0)),
            torchvision.transforms.RandomHorizontalFlip(),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize(MEANS, DEVIATIONS),
        ]
    )
    dataset = torchvision.datasets.ImageFolder(folder, transform)
    if images is not None:
        rows = [row % len(dataset) for row in range(images)]
        dataset = torch.utils.data.Subset(dataset, rows)
    return DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def plain_epoch(
    net: nn.Module,
    trainer: torch.optim.Optimizer,
    loader: "DataLoader[tuple[Tensor, Tensor]]",
    device: torch.device,
) -> None:
    """Train for an epoch as in the chapter."""
    loss = nn.CrossEntropyLoss(reduction="none")
    net.train()
    for images, labels in loader:
        trainer.zero_grad()
        loss(net(images.to(device)), labels.to(device)).sum().backward()
        trainer.step()
