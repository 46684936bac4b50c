"""The device of a job, and the arithmetic there."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from imagepipe.config.recipe import Precision
from imagepipe.device.cpu_precision import NetworkUse, faster_precision
from imagepipe.device.gpu_claims import claimed_gpu
from imagepipe.device.kernels import has_kernels
from imagepipe.errors import UserError

logger = logging.getLogger(__name__)

BITS_16 = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def chosen_device(name: str, gpus: int) -> Iterator[torch.device]:
    """Give the device for `auto` (CUDA, else MPS, else the CPU), `cpu`, `cuda` or `mps`.

    gpus: the number of GPUs that the job may use; 0 gives the CPU. Of several CUDA GPUs it is one
    that no other job uses, until the block ends. A GPU for which PyTorch has no kernels is as
    missing, and the log says so. Raises `UserError` if the named device is missing.
    """
    if gpus == 0:
        name = "cpu"
    usable = usable_gpus() if name in ("auto", "cuda") else []
    available = {"cuda": bool(usable), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name in ("auto", "cuda") and not usable and torch.cuda.is_available():
        if name == "cuda":
            raise UserError(f"device: {no_kernels()}, or set device=cpu")
        logger.warning("the GPU is not used: %s", no_kernels())
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available[name]:
        raise UserError(
            f"device: {name} is not available to PyTorch on this machine; set device=auto"
        )
    if name != "cuda":
        yield torch.device(name)
        return
    uuids = [str(torch.cuda.get_device_properties(index).uuid) for index in usable]
    with claimed_gpu(uuids) as position:
        index = usable[position]
        torch.cuda.set_device(index)
        yield torch.device("cuda", index)


def usable_gpus() -> list[int]:
    """Return the indices of the CUDA GPUs for which this PyTorch has kernels."""
    if not torch.cuda.is_available():
        return []
    architectures = torch.cuda.get_arch_list()
    with warnings.catch_warnings():
        # PyTorch's own about such GPUs, some twenty lines long.
        warnings.simplefilter("ignore")
        return [
            index
            for index in range(torch.cuda.device_count())
            if has_kernels(torch.cuda.get_device_capability(index), architectures)
        ]


def no_kernels() -> str:
    """Return why the first CUDA GPU cannot be used, and what to do."""
    major, minor = torch.cuda.get_device_capability(0)
    return (
        f"PyTorch {torch.__version__} has no kernels for {torch.cuda.get_device_name(0)} (compute "
        f"capability {major}.{minor}); install a PyTorch that has"
    )


def check_gpus(device: torch.device, wanted: int) -> None:
    """Raise `UserError` if a job's processes on this machine want more GPUs than are usable."""
    visible = len(usable_gpus()) if device.type == "cuda" else 1
    if device.type != "cpu" and visible < wanted:
        raise UserError(
            f"gpu: the job wants {wanted} GPUs on each machine, and PyTorch sees {visible} here; "
            "set a smaller number: --set-resources train:gpu=N retrain:gpu=N"
        )


def device_name(device: torch.device) -> str:
    """Return the device's name for people, such as "cpu" or "cuda (NVIDIA H100)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type


def choose_precision(
    name: Precision, device: torch.device, use: NetworkUse | None = None
) -> tuple[str, str]:
    """Return fp32, bf16 or fp16, and the reason for the log; `auto` is bf16 where that is faster.

    CPUs without AMX or AVX-512-BF16 emulate bf16, slower than fp32; of the others, some are slower,
    too, or in some networks: `use` is that of a library's network. Raises `UserError` for fp16 on a
    CPU, where it is far slower than fp32.
    """
    if name == "fp16" and device.type == "cpu":
        raise UserError("precision: fp16 is for GPUs; on the CPU, set override='{precision: auto}'")
    if name != "auto":
        return name, "as asked for"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU computes in it"
        return "fp32", "the GPU does not compute in bf16; precision: fp16 may be faster"
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"):
            return faster_precision(use)
        return "fp32", "the processor has neither AMX nor AVX-512-BF16"
    return "fp32", "it is the safe choice on this device"


def set_arithmetic(device: torch.device, *, tf32: bool, deterministic: bool) -> None:
    """Set how a CUDA GPU computes: fp32 as TF32 or not, and by deterministic kernels or not.

    With `deterministic`, an operation without a deterministic kernel raises a RuntimeError. Without
    it, cuDNN tries its kernels and takes the fastest. Other devices have neither choice.
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    # Filling uninitialized memory reveals mistakes, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if deterministic:
        # https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a network with fp32 weights computes in `precision`."""
    return torch.autocast(device.type, dtype=BITS_16.get(precision), enabled=precision in BITS_16)


def free_memory(device: torch.device) -> int:
    """Return the number of bytes that a GPU could still allocate."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()


def on_device_or_mapped(images: np.ndarray, device: torch.device) -> Tensor:
    """Return images on a GPU if they take at most half of its free memory, else where they are.

    A tensor on the CPU shares the array's memory. A memory map stays one: the system caches what is
    read of it, once for all jobs, as long as there is room.
    """
    tensor = torch.from_numpy(images)
    if device.type == "cpu" or images.nbytes > free_memory(device) / 2:
        return tensor
    return tensor.to(device)
