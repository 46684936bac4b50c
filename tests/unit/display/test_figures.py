"""Pictures in figures: small ones keep their pixels, and photos take little room."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from imagepipe.display.figures import new_figure, save_figure, styled

PICTURE = re.compile(r'"data:image/(\w+);base64,\s*([^"]+)"([^>]*)>')


def saved(picture: np.ndarray, svg: Path) -> tuple[str, np.ndarray, str]:
    """Save a picture in a figure; return its format and pixels there, and how it is drawn."""
    with styled():
        figure = new_figure()
        figure.set_layout_engine("none")
        figure.add_axes((0, 0, 1, 1)).imshow(picture, interpolation="none")
        save_figure(figure, svg)
    found = PICTURE.search(svg.read_text(encoding="utf-8"))
    assert found is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[2]))))
    return found[1], pixels, found[3]


def photo(size: int) -> np.ndarray:
    image = Image.fromarray(load_sample_image("china.jpg"))
    return np.asarray(image.resize((size, size)))


@pytest.mark.parametrize("size", [24, 32])
def test_small_pictures_keep_their_pixels(size: int, tmp_path: Path) -> None:
    picture = photo(size)
    kind, pixels, rest = saved(picture, tmp_path / "figure.svg")
    assert kind == "png"
    assert (pixels[..., :3] == picture).all()
    assert "image-rendering:pixelated" in rest


def test_photos_are_jpeg_and_smooth(tmp_path: Path) -> None:
    picture = photo(192)
    kind, pixels, rest = saved(picture, tmp_path / "figure.svg")
    assert kind == "jpeg"
    assert np.abs(pixels.astype(int) - picture).mean() < 5
    assert "pixelated" not in rest
    assert (tmp_path / "figure.svg").stat().st_size < 40_000
    again = tmp_path / "again.svg"
    saved(picture, again)
    assert again.read_bytes() == (tmp_path / "figure.svg").read_bytes()


def test_opacity_is_kept(tmp_path: Path) -> None:
    picture = np.dstack([photo(128), np.full((128, 128), 255, np.uint8)])
    picture[:32] = 0
    kind, pixels, _ = saved(picture, tmp_path / "figure.svg")
    assert kind == "png"
    assert (pixels[..., 3] == picture[..., 3]).all()


def test_plain_areas_stay_png(tmp_path: Path) -> None:
    """Such as those of a matrix: JPEG would blur its edges and not be smaller."""
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[::2, ::3] = (250, 120, 30)
    kind, pixels, _ = saved(picture, tmp_path / "figure.svg")
    assert kind == "png"
    assert (pixels[..., :3] == picture).all()
