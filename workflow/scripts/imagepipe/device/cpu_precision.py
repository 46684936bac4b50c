"""Whether a CPU computes faster in bf16 than in fp32: measured once, then cached."""

import json
import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from imagepipe.config.recipe import FrozenFeatures, FrozenNetwork, Model, Timm, Torchvision
from imagepipe.files import write_text
from imagepipe.models.create import create_model
from imagepipe.models.folding import fold_frozen_batch_norm

# A CPU is either at least twice as fast in bf16, or half as fast. Anything between is noise, for
# which nobody should give up digits.
MIN_SPEEDUP = 1.2
ROUNDS = 4
BATCH, CHANNELS, PIXELS, FEATURES = 16, 128, 16, 768
# Of a library's network, whose steps may take a second each.
NETWORK_ROUNDS, NETWORK_BATCH = 2, 4


@dataclass(frozen=True)
class NetworkUse:
    """A network of a library, the height and width of its images, and whether it is trained."""

    network: Torchvision | Timm
    image_size: Sequence[int]
    training: bool

    @classmethod
    def from_model(
        cls, model: Model | FrozenNetwork, image_size: Sequence[int], *, training: bool
    ) -> "NetworkUse | None":
        """Return the use of a recipe's library network, or None if it has none."""
        if isinstance(model, FrozenFeatures):
            model = model.on
        if isinstance(model, FrozenNetwork):
            model = model.network
        return cls(model, image_size, training) if isinstance(model, Torchvision | Timm) else None

    def __str__(self) -> str:
        height, width = self.image_size
        work = "training" if self.training else "prediction"
        return f"the {work} of {self.network.architecture} at {height}×{width} pixels"


def faster_precision(use: NetworkUse | None = None) -> tuple[str, str]:
    """Return bf16 or fp32, whichever this CPU is faster in, and the reason for the log.

    The first call with this CPU and version of PyTorch measures it, in a fraction of a second; for
    a library's network, it measures that, in some steps. The user's cache keeps the answer, so that
    all later trainings give the same bits.
    """
    file = cache_file(use)
    speedup = read_speedup(file) if file else None
    origin = f"measured, and kept in {file}"
    if speedup is None:
        speedup = round(bf16_speedup() if use is None else network_speedup(use), 2)
        try:
            speedup = keep(speedup, file, use)
        except OSError as error:
            origin = f"measured, and not kept ({error})"
    precision = "bf16" if speedup >= MIN_SPEEDUP else "fp32"
    where = "here" if use is None else f"here in {use}"
    return precision, f"bf16 is {speedup:.2f} times as fast as fp32 {where}, {origin}"


def bf16_speedup() -> float:
    """Return the speed of bf16 relative to fp32: a convolution and a linear layer, with gradients.

    Both use PyTorch's current number of threads.
    """
    convolution = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=1)
    convolution.to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, CHANNELS, PIXELS, PIXELS)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    linear = nn.Linear(FEATURES, FEATURES)
    rows = torch.randn(FEATURES, FEATURES, requires_grad=True)

    return _speedup(lambda: [convolution(images), linear(rows)], ROUNDS)


def network_speedup(use: NetworkUse) -> float:
    """Return the speed of bf16 relative to fp32 in a small batch of a network's images.

    Its batch normalization uses fixed statistics.
    """
    # The random weights and images draw nothing from the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model = create_model(use.network, num_classes=10, image_size=use.image_size)
        images = torch.randn(NETWORK_BATCH, 3, *use.image_size)
    model.eval().to(memory_format=torch.channels_last)
    model.requires_grad_(use.training)
    images = images.contiguous(memory_format=torch.channels_last)
    fold_frozen_batch_norm(model, images)
    return _speedup(lambda: [model(images)], NETWORK_ROUNDS)


def _speedup(compute: Callable[[], list[Tensor]], rounds: int) -> float:
    """Return the speed of bf16 relative to fp32 of a computation and its gradients, if it has any.

    The first round warms up.
    """

    def seconds(bf16: bool) -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            outputs = compute()
        if outputs[0].requires_grad:
            torch.autograd.backward([output.float().sum() for output in outputs])
        return time.perf_counter() - start

    # In turn, so that changes of the clock rate affect both alike.
    times = [(seconds(bf16=False), seconds(bf16=True)) for _ in range(1 + rounds)][1:]
    return min(fp32 for fp32, _ in times) / min(bf16 for _, bf16 in times)


def cache_file(use: NetworkUse | None = None) -> Path | None:
    """Return the file for this CPU and version of PyTorch, or None for a user without a home."""
    key = machine() if use is None else f"{machine()}; {use.network.stem} {use.network.name}, {use}"
    try:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(folder, "imagepipe", f"bf16-{sha256(key.encode()).hexdigest()[:16]}.json")


def read_speedup(file: Path) -> float | None:
    """Return the cached speedup, or None if there is none or the file is damaged."""
    try:
        speedup = json.loads(file.read_text(encoding="utf-8"))["bf16_speedup"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return float(speedup) if isinstance(speedup, int | float) and speedup > 0 else None


def keep(speedup: float, file: Path | None, use: NetworkUse | None = None) -> float:
    """Cache a speedup and return it, or the one that a training in parallel has cached first."""
    if file is None:
        raise FileNotFoundError("there is no home folder")
    if file.exists() and read_speedup(file) is None:
        file.unlink(missing_ok=True)  # It is damaged.
    own = file.with_suffix(f".{os.getpid()}")
    content: dict[str, object] = {"machine": machine(), "bf16_speedup": speedup}
    if use is not None:
        content["network"] = str(use)
    write_text(own, json.dumps(content) + "\n")
    try:
        with suppress(FileExistsError):
            os.link(own, file)
    finally:
        own.unlink()
    return read_speedup(file) or speedup


def machine() -> str:
    """Return what the speedup depends on: the CPU's model and features, and PyTorch's version."""
    try:
        cpu, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        cpu = f"model name: {platform.processor()}"
    model = re.findall(r"^(?:cpu family|model|model name|stepping)\s*:\s*(.*)$", cpu, re.M)
    features = [name for name, has in torch.cpu.get_capabilities().items() if has is True]
    return " ".join([*model, *sorted(features), "PyTorch", torch.__version__])
