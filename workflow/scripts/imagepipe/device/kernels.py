"""Whether the installed PyTorch has kernels for a GPU."""

import re
from collections.abc import Iterable

# "sm_90" is machine code, "compute_90" code that the driver compiles. The suffix "a" binds it to
# that very capability, "f" to its family.
ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


def has_kernels(capability: tuple[int, int], architectures: Iterable[str]) -> bool:
    """Return whether a GPU can run code that was built for some architectures.

    capability: the GPU's, such as (9, 0). architectures: as torch.cuda.get_arch_list() gives them.
    Machine code runs on GPUs of the same major and no smaller minor capability; other code on all
    that are no older
    (https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities). Where no
    architecture is one of CUDA's, the answer is yes.
    """
    matches = [match for match in map(ARCHITECTURE.fullmatch, architectures) if match]
    return not matches or any(_runs(capability, match) for match in matches)


def _runs(capability: tuple[int, int], match: re.Match[str]) -> bool:
    kind, major, minor, suffix = match.groups()
    built_for = (int(major), int(minor))
    if suffix == "a":
        return capability == built_for
    if kind == "compute" and not suffix:
        return capability >= built_for
    return capability[0] == built_for[0] and capability >= built_for
