"""Choosing where, and in which precision, the network computes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from imagepipe.device.cpu_precision import faster_precision
from imagepipe.device.gpu_claims import claimed_gpu
from imagepipe.errors import UserError

BITS_16 = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def chosen_device(name: str, gpus: int) -> Iterator[torch.device]:
    """Give the device for `auto` (CUDA, then MPS, then the CPU), `cpu`, `cuda` or `mps`.

    `gpus` is the number that the job may use; 0 gives the CPU, whatever the name. On a machine with
    several CUDA GPUs it is one that no other job has, until the block ends. Raises `UserError` if a
    device that was asked for by its name is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if gpus == 0:
        name = "cpu"
    elif name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available[name]:
        raise UserError(
            f"device: {name} is not available to PyTorch on this machine; set device=auto"
        )
    if name != "cuda":
        yield torch.device(name)
        return
    uuids = [
        str(torch.cuda.get_device_properties(index).uuid)
        for index in range(torch.cuda.device_count())
    ]
    with claimed_gpu(uuids) as index:
        torch.cuda.set_device(index)
        yield torch.device("cuda", index)


def check_gpus(device: torch.device, wanted: int) -> None:
    """Raise `UserError` if fewer GPUs than the processes of a node want are here, or allowed."""
    if device.type == "cpu" or wanted == 1:
        return
    here = torch.cuda.device_count() if device.type == "cuda" else 1
    if here < wanted:
        raise UserError(f"gpu: {wanted} GPUs a node are asked for, but there are {here} GPUs here")


def device_name(device: torch.device) -> str:
    """Return what a person calls the device, such as "cpu" or "cuda (NVIDIA H100)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type


def choose_precision(name: str, device: torch.device) -> tuple[str, str]:
    """Return fp32, bf16 or fp16, and why; for `auto`, bf16 where the hardware is faster in it.

    On processors without AMX or AVX-512-BF16, bf16 is emulated and slower than fp32; of the others,
    some are and some are not. Raises `UserError` for fp16 on a CPU, where most of PyTorch's fp16 is
    far slower than fp32.
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
        if any(capabilities.get(feature) for feature in ("amx_bf16", "avx512_bf16")):
            return faster_precision()
        return "fp32", "the processor has neither AMX nor AVX-512-BF16"
    return "fp32", "it is the safe choice on this device"


def set_arithmetic(device: torch.device, *, tf32: bool, deterministic: bool) -> None:
    """Say how a CUDA GPU computes: in TF32 where fp32 is asked for, and by kernels that repeat.

    With `deterministic`, an operation that has no deterministic kernel raises a RuntimeError.
    Without, cuDNN tries its kernels and takes the fastest. Other devices have neither choice.
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    # It is there to show mistakes, and costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if deterministic:
        # https://docs.nvidia.com/cuda/cublas/#results-reproducibility
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which the network computes in `precision` (its weights stay fp32)."""
    return torch.autocast(device.type, dtype=BITS_16.get(precision), enabled=precision in BITS_16)


def free_memory(device: torch.device) -> int:
    """Return how many bytes could still be allocated on a GPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()


def on_device_or_mapped(images: np.ndarray, device: torch.device) -> Tensor:
    """Return images as a tensor on a GPU, or a tensor that shares their memory, on the CPU.

    A GPU gets them whole if they take at most half of its free memory. Otherwise, and on the CPU,
    a memory map stays one: the system holds what is read of it as long as there is room, once for
    all jobs.
    """
    shared = torch.from_numpy(images)
    if device.type == "cpu" or images.nbytes > free_memory(device) / 2:
        return shared
    return shared.to(device)
