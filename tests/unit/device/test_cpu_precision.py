"""Which precision a CPU computes faster in: measured once, and kept."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from imagepipe.config.recipe import FrozenNetwork, LinearHead, SmallCNN, Timm, Torchvision
from imagepipe.device import cpu_precision
from imagepipe.device.cpu_precision import (
    NetworkUse,
    bf16_speedup,
    cache_file,
    faster_precision,
    network_speedup,
)

RESNET = NetworkUse(Timm(architecture="test_resnet"), [32, 32], training=True)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def measures(monkeypatch: pytest.MonkeyPatch, *speedups: float) -> Iterator[float]:
    """Have the machine measure some speed-ups, one after the other; return those that are left."""
    left = iter(speedups)
    monkeypatch.setattr(cpu_precision, "bf16_speedup", lambda: next(left))
    return left


@pytest.mark.parametrize(
    ("speedup", "precision"), [(2.1, "bf16"), (1.2, "bf16"), (1.19, "fp32"), (0.5, "fp32")]
)
def test_bf16_must_be_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, speedup: float, precision: str
) -> None:
    measures(monkeypatch, speedup)
    chosen, reason = faster_precision()
    assert chosen == precision
    assert f"bf16 is {speedup:.2f} times as fast as fp32 here" in reason


def test_answer_is_kept_whatever_a_later_measurement_would_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = measures(monkeypatch, 1.3, 0.9)
    first = faster_precision()
    assert faster_precision() == first
    assert first[0] == "bf16"
    assert list(left) == [0.9]  # it was not asked again


@pytest.mark.parametrize(
    "name",
    ["torch.__version__", "torch.cpu.get_capabilities"],
    ids=["PyTorch", "processor"],
)
def test_another_machine_or_pytorch_is_measured_for_itself(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    measures(monkeypatch, 2.0, 0.5)
    assert faster_precision()[0] == "bf16"
    monkeypatch.setattr(name, "2.0" if "version" in name else lambda: {"another": True})
    assert faster_precision()[0] == "fp32"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"bf16_speedup": "2"}', "\xff"])
def test_damaged_answer_is_measured_anew(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    measures(monkeypatch, 2.0)
    cache_file().parent.mkdir(parents=True)
    cache_file().write_text(content, encoding="latin-1")
    assert faster_precision()[0] == "bf16"
    assert json.loads(cache_file().read_text())["bf16_speedup"] == 2.0


def test_trainings_that_begin_together_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one measures, another one writes its answer: that is the answer of both."""

    def overtaken() -> float:
        cache_file().parent.mkdir(parents=True)
        cache_file().write_text('{"bf16_speedup": 0.5}')
        return 2.0

    monkeypatch.setattr(cpu_precision, "bf16_speedup", overtaken)
    assert faster_precision()[0] == "fp32"
    assert [path.name for path in cache_file().parent.iterdir()] == [cache_file().name]


def test_no_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nobody)
    measures(monkeypatch, 2.0)
    assert faster_precision()[0] == "bf16"


def test_home_that_cannot_be_written_to_is_no_error(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    cache.write_text("not a folder")
    measures(monkeypatch, 2.0, 2.0)
    for _ in range(2):
        precision, reason = faster_precision()
        assert precision == "bf16"
        assert "not kept" in reason


def test_what_is_measured_is_the_time_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that runs five times as slowly while autocast is on tells a speed-up of five."""
    monkeypatch.setattr(cpu_precision, "BATCH", 1)
    monkeypatch.setattr(cpu_precision, "FEATURES", 8)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(cpu_precision.time, "perf_counter", clock)
    assert bf16_speedup() == 1.0
    calls = 0

    def slower_clock() -> float:
        nonlocal now, calls
        # Two calls for fp32, and two for bf16, in turn.
        now += 5.0 if calls % 4 == 1 else 1.0
        calls += 1
        return now

    monkeypatch.setattr(cpu_precision.time, "perf_counter", slower_clock)
    assert bf16_speedup() == 5.0
    calls = 0
    assert network_speedup(RESNET) == 5.0
    assert not torch.is_autocast_enabled("cpu")


def test_networks_of_libraries_are_measured_each_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measures(monkeypatch, 2.0)
    measured: list[str] = []

    def speedup(use: NetworkUse) -> float:
        measured.append(str(use))
        return 1.0

    monkeypatch.setattr(cpu_precision, "network_speedup", speedup)
    uses = [
        RESNET,
        replace(RESNET, training=False),
        replace(RESNET, image_size=[32, 40]),
        replace(RESNET, network=Timm(architecture="test_vit")),
    ]
    assert faster_precision()[0] == "bf16"
    for use in (*uses, *uses):
        precision, reason = faster_precision(use)
        assert precision == "fp32"
        assert f"bf16 is 1.00 times as fast as fp32 here in {use}, measured, and kept in" in reason
    assert measured == [str(use) for use in uses]
    assert measured[2] == "the training of test_resnet at 32×40 pixels"
    assert faster_precision()[0] == "bf16"


@pytest.mark.parametrize("training", [True, False])
def test_measurement_of_a_network_draws_no_random_numbers(training: bool) -> None:
    state = torch.random.get_rng_state()
    assert network_speedup(replace(RESNET, training=training)) > 0
    assert torch.equal(torch.random.get_rng_state(), state)


def test_networks_of_our_own_are_not_measured() -> None:
    assert NetworkUse.from_model(SmallCNN(), [32, 32], training=True) is None


def test_heads_use_the_network_of_their_features() -> None:
    network = FrozenNetwork(name="torchvision", architecture="resnet18")
    use = NetworkUse(Torchvision(architecture="resnet18"), [64, 64], training=False)
    assert NetworkUse.from_model(LinearHead(on=network), [64, 64], training=False) == use
    assert NetworkUse.from_model(network, [64, 64], training=False) == use
