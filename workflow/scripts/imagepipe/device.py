"""Choosing where, and in which precision, the network computes."""

import torch

from imagepipe.errors import UserError


def choose_device(name: str) -> torch.device:
    """Return the device for `auto` (CUDA, then MPS, then the CPU), `cpu`, `cuda` or `mps`.

    Raises `UserError` if a device that was asked for by its name is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available[name]:
        raise UserError(
            f"device: {name} is not available to PyTorch on this machine; set device=auto"
        )
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what a person calls the device, such as "cpu" or "cuda (NVIDIA H100)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type


def choose_precision(name: str, device: torch.device) -> str:
    """Return fp32 or bf16; for `auto`, bf16 where the device's hardware multiplies in it.

    On processors without AMX or AVX-512-BF16, bf16 is emulated and slower than fp32.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"
    return "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which the network computes in `precision` (its weights stay fp32)."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
