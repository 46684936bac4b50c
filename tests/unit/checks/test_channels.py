"""The channels' statistics, against NumPy's own on floats."""

from pathlib import Path

import numpy as np
import pytest

from builders import pixels
from imagepipe.checks.channels import measure_channels
from imagepipe.dataset import packed


@pytest.mark.parametrize("chunk_bytes", [1, 7000, 4 << 20])
def test_statistics_are_those_of_all_pixels_and_of_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(packed, "CHUNK_BYTES", chunk_bytes)
    images = np.stack([pixels(seed) // (1 + seed) + seed for seed in range(5)]).astype(np.uint8)
    images[..., 1] //= 2
    np.save(tmp_path / "a.npy", images)
    statistics = measure_channels(tmp_path / "a.npy")
    scaled = images / 255
    assert statistics.mean == scaled.mean(axis=(0, 1, 2)).round(4).tolist()
    assert statistics.std == scaled.std(axis=(0, 1, 2)).round(4).tolist()
    own = scaled.std(axis=(1, 2)).mean(axis=0)
    assert statistics.image_std == own.round(4).tolist()


@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_color_has_no_std(tmp_path: Path, value: int) -> None:
    np.save(tmp_path / "a.npy", np.full((3, 4, 4, 3), value, dtype=np.uint8))
    statistics = measure_channels(tmp_path / "a.npy")
    assert statistics.mean == [round(value / 255, 4)] * 3
    assert statistics.std == statistics.image_std == [0.0] * 3
