"""GPUs that the kernels of a PyTorch run on, by the rules of CUDA."""

import pytest

from imagepipe.device.kernels import has_kernels

# Of PyTorch 2.8 for CUDA 12.8, and of 2.0.
NEW = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
OLD = ("sm_37", "sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86")


@pytest.mark.parametrize(
    ("capability", "architectures", "expected"),
    [
        ((7, 5), NEW, True),
        ((9, 0), NEW, True),
        ((10, 0), NEW, True),
        # P100 and V100.
        ((6, 0), NEW, False),
        ((7, 0), NEW, False),
        ((7, 0), OLD, True),
        ((8, 9), OLD, True),  # by sm_86
        ((9, 0), OLD, False),
        ((8, 0), ("sm_86",), False),
        ((10, 3), NEW, True),  # by sm_100
        ((13, 0), NEW, True),  # by compute_120
        ((11, 0), NEW, False),
        ((9, 0), ("sm_80", "compute_80"), True),
        ((7, 5), ("sm_80", "compute_80"), False),
        ((9, 0), ("sm_90a",), True),
        ((9, 1), ("sm_90a", "compute_90a"), False),
        ((10, 3), ("sm_100f",), True),
        ((12, 0), ("sm_100f", "compute_100f"), False),
        # Unknown: PyTorch decides.
        ((9, 0), (), True),
        ((9, 4), ("gfx90a", "gfx942"), True),
    ],
)
def test_a_gpu_runs_code_for_its_generation_and_what_the_driver_compiles(
    capability: tuple[int, int], architectures: tuple[str, ...], expected: bool
) -> None:
    assert has_kernels(capability, architectures) is expected
