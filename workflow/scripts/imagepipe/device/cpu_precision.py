"""Whether a CPU computes faster in bf16 than in fp32: measured once for each, and kept."""

import json
import os
import platform
import time
from hashlib import sha256
from pathlib import Path

import torch
from torch import nn

from imagepipe.files import write_text

# bf16 must be so many times as fast. Where it is right it is twice as fast or more, and where it is
# wrong half as fast: what lies between is noise, for which nobody should give digits away.
LEAST_SPEEDUP = 1.2
ROUNDS = 4
BATCH, CHANNELS, PIXELS, FEATURES = 16, 128, 16, 768


def faster_precision() -> tuple[str, str]:
    """Return bf16 or fp32, whichever this CPU computes faster in, and why.

    The first call on a machine, and with a version of PyTorch, measures it. The answer is kept in
    the user's cache, so that all later trainings compute as the first one, and give its bits.
    """
    try:
        file = cache_file()
    except RuntimeError:
        return _chosen(
            round(bf16_speedup(), 2), "measured, and not kept, as there is no home for a cache"
        )
    speedup = read_speedup(file)
    if speedup is None:
        speedup = round(bf16_speedup(), 2)
        try:
            speedup = kept(speedup, file)
        except OSError:
            return _chosen(speedup, f"measured, and not kept, as {file} cannot be written")
    return _chosen(speedup, f"measured, and kept in {file}")


def kept(speedup: float, file: Path) -> float:
    """Keep what was measured, or return what a training that began together with this one has kept.

    Raises `OSError` if the file cannot be written.
    """
    if file.exists() and read_speedup(file) is None:
        file.unlink()  # damaged
    mine = file.with_suffix(f".{os.getpid()}")
    write_text(mine, json.dumps({"machine": machine(), "bf16_speedup": speedup}) + "\n")
    try:
        # The first one counts.
        os.link(mine, file)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return read_speedup(file) or speedup


def _chosen(speedup: float, how: str) -> tuple[str, str]:
    precision = "bf16" if speedup >= LEAST_SPEEDUP else "fp32"
    return precision, f"bf16 is {speedup:.2f} times as fast as fp32 here, {how}"


def bf16_speedup() -> float:
    """Return how many times as fast as fp32 bf16 is, for a convolution and a product.

    Both forward and backward, by as many threads as PyTorch has now, in a fraction of a second.
    """
    convolution = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=1)
    convolution.to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, CHANNELS, PIXELS, PIXELS)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    linear = nn.Linear(FEATURES, FEATURES)
    rows = torch.randn(FEATURES, FEATURES, requires_grad=True)

    def seconds(enabled: bool) -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            results = convolution(images), linear(rows)
        torch.autograd.backward([result.float().sum() for result in results])
        return time.perf_counter() - start

    # In turn, so that a machine whose pace changes does not decide it; the first is to warm up.
    pairs = [(seconds(False), seconds(True)) for _ in range(1 + ROUNDS)][1:]
    return min(fp32 for fp32, _ in pairs) / min(bf16 for _, bf16 in pairs)


def machine() -> str:
    """Return what the answer depends on: the processor, what it can do, and PyTorch's version."""
    return f"{processor()}, PyTorch {torch.__version__}"


def processor() -> str:
    """Return the model of the processor, with the numbers that tell apart models of one name."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        return f"{platform.processor()} ({platform.machine()})"
    fields = (line.partition(":") for line in first.splitlines())
    found = {name.strip(): value.strip() for name, _, value in fields}
    numbers = "/".join(found.get(name, "") for name in ("cpu family", "model", "stepping"))
    able = sorted(name for name, is_able in torch.cpu.get_capabilities().items() if is_able is True)
    digits = sha256(" ".join(able).encode()).hexdigest()[:8]
    return f"{found.get('model name', platform.machine())} ({numbers}, {digits})"


def cache_file() -> Path:
    """Return the file in which this machine's answer is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "imagepipe" / f"bf16-{sha256(machine().encode()).hexdigest()[:16]}.json"


def read_speedup(file: Path) -> float | None:
    """Return what was measured earlier, or None if nothing was, or the file says something else."""
    try:
        speedup = json.loads(file.read_text(encoding="utf-8"))["bf16_speedup"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return float(speedup) if isinstance(speedup, int | float) and speedup > 0 else None
