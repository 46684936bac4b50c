"""Where, and in which precision, the network computes."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from imagepipe.device import devices as device_module
from imagepipe.device.devices import (
    autocast,
    check_gpus,
    choose_precision,
    chosen_device,
    on_device_or_mapped,
    set_arithmetic,
)
from imagepipe.errors import UserError


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(device_module, "claimed_gpu", lambda _: nullcontext(0))
    pretend_gpus(monkeypatch, (9, 0))
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int]) -> None:
    """Pretend that there are GPUs of these capabilities, and kernels for 9.0."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_90"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="abc"[index])
    )


def kind_of(name: str, gpus: int = 1) -> str:
    """Return the type of the device that is chosen."""
    with chosen_device(name, gpus) as device:
        return device.type


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_a_user_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, cuda=False, mps=False)
    with pytest.raises(UserError, match=f"device: {name} is not available .* set device=auto$"):
        kind_of(name)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_device_that_is_there(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, cuda=cuda, mps=mps)
    assert kind_of("auto") == expected


def test_the_cpu_can_be_asked_for_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True, mps=False)
    assert kind_of("cpu") == "cpu"


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "mps"])
def test_a_job_without_gpus_computes_on_the_cpu_whatever_is_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, cuda=name != "cuda", mps=True)
    assert kind_of(name, gpus=0) == "cpu"


def test_a_job_takes_the_gpu_that_it_claims_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True, mps=False)
    asked, chosen = [], []

    def claim(uuids: list[str]) -> "nullcontext[int]":
        asked.extend(uuids)
        return nullcontext(2)

    pretend_gpus(monkeypatch, (9, 0), (9, 0), (9, 0))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(device_module, "claimed_gpu", claim)
    with chosen_device("auto", 1) as device:
        assert device == torch.device("cuda", 2)
    assert asked == ["a", "b", "c"]
    assert chosen == [2]


def test_a_gpu_without_kernels_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda=True, mps=False)
    asked: list[str] = []

    def claim(uuids: list[str]) -> "nullcontext[int]":
        asked.extend(uuids)
        return nullcontext(1)

    pretend_gpus(monkeypatch, (9, 0), (6, 0), (9, 0))
    monkeypatch.setattr(device_module, "claimed_gpu", claim)
    with chosen_device("auto", 1) as device:
        assert device == torch.device("cuda", 2)
    assert asked == ["a", "c"]
    with pytest.raises(UserError, match=r"the job wants 3 GPUs .* PyTorch sees 2 here"):
        check_gpus(device, 3)


def test_without_a_gpu_that_has_kernels_auto_takes_the_cpu_and_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(monkeypatch, cuda=True, mps=False)
    pretend_gpus(monkeypatch, (6, 0))
    assert kind_of("auto") == "cpu"
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == (
        f"the GPU is not used: PyTorch {torch.__version__} has no kernels for GPU 0 (compute "
        "capability 6.0); install a PyTorch that has"
    )
    assert kind_of("cpu") == "cpu"
    assert len(caplog.records) == 1


def test_a_gpu_without_kernels_that_is_asked_for_is_a_user_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, cuda=True, mps=False)
    pretend_gpus(monkeypatch, (7, 0))
    with pytest.raises(
        UserError, match=r"^device: .* no kernels for GPU 0 .*7\.0.*, or set device=cpu$"
    ):
        kind_of("cuda")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, ("bf16", "it is faster")),
        ({"amx_bf16": False, "avx512_bf16": True}, ("bf16", "it is faster")),
        (
            {"amx_bf16": False, "avx512_bf16": False, "avx512_f": True},
            ("fp32", "the processor has neither AMX nor AVX-512-BF16"),
        ),
        (
            {"architecture": "aarch64"},
            ("fp32", "the processor has neither AMX nor AVX-512-BF16"),
        ),
    ],
)
def test_auto_precision_on_a_processor_is_measured_where_it_multiplies_in_bf16(
    capabilities: dict[str, object], expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(device_module, "faster_precision", lambda _: ("bf16", "it is faster"))
    assert choose_precision("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_precision_on_cuda_is_bf16_only_where_it_is_not_emulated(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert choose_precision("auto", torch.device("cuda"))[0] == expected


@pytest.mark.parametrize(
    ("name", "device"),
    [("fp32", "cpu"), ("bf16", "cpu"), ("fp32", "cuda"), ("fp16", "cuda"), ("fp16", "mps")],
)
def test_a_precision_that_is_named_is_taken(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = name == "fp32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": other})
    assert choose_precision(name, torch.device(device)) == (name, "as asked for")


def test_fp16_on_a_processor_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"fp16 is for GPUs; .* override='{precision: auto}'$"):
        choose_precision("fp16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_the_network_computes_in_the_precision_and_keeps_fp32_weights(
    precision: str, dtype: torch.dtype
) -> None:
    layer = nn.Linear(3, 2)
    with autocast(torch.device("cpu"), precision):
        assert layer(torch.ones(1, 3)).dtype == dtype
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize(("room", "whole"), [(2.0, True), (1.99, False)])
def test_a_gpu_gets_images_whole_only_if_they_take_at_most_half_of_its_memory(
    room: float, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = memory_map(tmp_path)
    monkeypatch.setattr(device_module, "free_memory", lambda _: int(room * images.nbytes))
    # A device without memory of its own stands for the GPU.
    tensor = on_device_or_mapped(images, torch.device("meta"))
    assert tensor.shape == images.shape
    assert tensor.device.type == ("meta" if whole else "cpu")
    if not whole:
        assert tensor.data_ptr() == images.ctypes.data


def test_the_cpu_reads_a_memory_map_where_it_lies(tmp_path: Path) -> None:
    images = memory_map(tmp_path)
    tensor = on_device_or_mapped(images, torch.device("cpu"))
    assert torch.equal(tensor, torch.from_numpy(images.copy()))
    assert tensor.data_ptr() == images.ctypes.data


def memory_map(folder: Path) -> np.ndarray:
    np.save(folder / "images.npy", np.arange(200, dtype=np.uint8).reshape(2, 10, 10, 1))
    images: np.ndarray = np.load(folder / "images.npy", mmap_mode="c")
    return images


@pytest.fixture
def arithmetic_as_before() -> Iterator[None]:
    """Put PyTorch's global settings back after the test."""
    tf32 = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    benchmark, deterministic = (
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
    )
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.usefixtures("arithmetic_as_before")
@pytest.mark.parametrize("tf32", [True, False])
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_gpus_arithmetic_is_what_the_recipe_says(
    tf32: bool, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_arithmetic(torch.device("cuda"), tf32=tf32, deterministic=deterministic)
    assert torch.backends.cuda.matmul.allow_tf32 == tf32
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert torch.backends.cudnn.benchmark != deterministic
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic


@pytest.mark.usefixtures("arithmetic_as_before")
def test_the_cpus_arithmetic_is_left_alone() -> None:
    set_arithmetic(torch.device("cpu"), tf32=True, deterministic=True)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("device", "wanted", "visible"), [("cuda", 3, 2), ("mps", 2, 1)])
def test_more_processes_than_gpus_are_refused(
    device: str, wanted: int, visible: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, cuda=True, mps=True)
    pretend_gpus(monkeypatch, (9, 0), (9, 0))
    message = f"wants {wanted} GPUs .* sees {visible} here; .* --set-resources train:gpu=N"
    with pytest.raises(UserError, match=message):
        check_gpus(torch.device(device), wanted)


@pytest.mark.parametrize(("device", "wanted"), [("cuda", 2), ("cuda", 1), ("mps", 1), ("cpu", 8)])
def test_as_many_processes_as_gpus_are_not(
    device: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, cuda=True, mps=True)
    pretend_gpus(monkeypatch, (9, 0), (9, 0))
    check_gpus(torch.device(device), wanted)
