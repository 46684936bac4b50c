"""Picture grids show every picture's pixels, in its shape, with a caption that has room."""

import base64
import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluation_builders import SVG, shown_texts
from figure_reading import check_readable
from imagepipe.display.figures import COLUMN_WIDTH, save_figure, styled
from imagepipe.display.text import text_width
from imagepipe.evaluation.picture_grid import LONGEST_SIDE, caption_line, draw_grid

HREF = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def shown_pictures(figure: Figure, folder: Path) -> list[np.ndarray]:
    """Return the pictures in a figure, uint8 [H, W, 3] each, as its SVG file has them."""
    save_figure(figure, folder / "figure.svg")
    root = ElementTree.fromstring((folder / "figure.svg").read_bytes())
    files = [one.get(HREF, "").split(",")[1] for one in root.iter(f"{SVG}image")]
    images = [Image.open(io.BytesIO(base64.b64decode(file))) for file in files]
    return [np.asarray(image.convert("RGB")) for image in images]


def places(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Return left, top, width and height of the pictures in inches, as they are drawn."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    boxes = [axes.get_position() for axes in figure.axes]
    return [
        (box.x0 * width, (1 - box.y1) * height, box.width * width, box.height * height)
        for box in boxes
    ]


def test_small_pictures_are_shown_pixel_by_pixel(tmp_path: Path) -> None:
    pictures = [noise(24, 32, seed) for seed in range(5)]
    shown = shown_pictures(draw_grid(pictures, list("abcde"), "Title"), tmp_path)
    assert len(shown) == 5
    for one, expected in zip(shown, pictures, strict=True):
        assert (one == expected).all()


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 100), (193, 193)])
def test_photos_are_reduced_in_their_shape(height: int, width: int, tmp_path: Path) -> None:
    (shown,) = shown_pictures(draw_grid([noise(height, width)], ["a"], "Title"), tmp_path)
    assert max(shown.shape) == LONGEST_SIDE
    assert shown.shape[0] / shown.shape[1] == pytest.approx(height / width, rel=0.03)


def test_a_page_of_photos_is_small(tmp_path: Path) -> None:
    # Noise is the worst: a photo takes half of it.
    pictures = [noise(375, 500, seed) for seed in range(12)]
    save_figure(draw_grid(pictures, ["a"] * 12, "Title"), tmp_path / "grid.svg")
    assert (tmp_path / "grid.svg").stat().st_size < 1.5e6
    assert (tmp_path / "grid.png").stat().st_size < 1.5e6


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 60), (90, 30), (500, 20)])
def test_pixels_are_squares_and_pictures_do_not_overlap(height: int, width: int) -> None:
    figure = draw_grid([noise(height, width)] * 6, ["a\nb\nc"] * 6, "Title")
    boxes = places(figure)
    for left, top, w, h in boxes:
        assert h / w == pytest.approx(height / width, rel=0.05)
        assert left >= 0
        assert left + w <= COLUMN_WIDTH
        assert top > 0.3
    for one, after in pairwise(boxes[:4]):
        assert one[0] + one[2] < after[0]
    # Three lines of text are between the rows.
    assert boxes[0][1] + boxes[0][3] + 3 * 0.14 < boxes[4][1]
    assert boxes[4][1] + boxes[4][3] + 3 * 0.14 < figure.get_size_inches()[1]


def test_pictures_of_different_shapes_stand_on_one_line() -> None:
    boxes = places(draw_grid([noise(32, 32), noise(20, 40), noise(40, 20)], list("abc"), "Title"))
    assert len({round(top + height, 6) for _, top, _, height in boxes}) == 1


def test_captions_are_shown_and_have_room(tmp_path: Path) -> None:
    captions = ["cat\n→ dog 93 %\nid 7", "W" * 300, "$x^2$\n<b>&amp;</b>", "قط\n猫\n😀"]
    figure = draw_grid([noise(8, 8)] * 4, captions, "Mistakes: true → predicted")
    texts = shown_texts(figure, tmp_path)
    expected = {"Mistakes: true → predicted", "cat", "→ dog 93 %", "id 7", "$x^2$", "<b>&amp;</b>"}
    assert expected | {"قط", "猫", "😀"} <= set(texts)
    (shortened,) = (one for one in texts if one.startswith("WWW"))
    assert text_width(shortened) < COLUMN_WIDTH / 4


def test_column_titles_are_above_and_notes_below(tmp_path: Path) -> None:
    pictures, captions = [noise(8, 8)] * 4, ["a", "b", "c", "d"]
    titles, notes = ["original", "epoch 1"], ["Method: none.", "Second line."]
    plain = draw_grid(pictures, captions, "Title", 2)
    figure = draw_grid(pictures, captions, "Title", 2, column_titles=titles, notes=notes)
    check_readable(figure)
    assert {*titles, *notes} <= set(shown_texts(figure, tmp_path))
    boxes, before = places(figure), places(plain)
    # The pictures are as large as without.
    assert np.allclose([box[2:] for box in boxes], [box[2:] for box in before])
    at = {text.get_text(): text.get_position() for text in figure.texts}
    width, height = figure.get_size_inches()
    for title, box in zip(titles, boxes, strict=False):
        assert at[title][0] * width == pytest.approx(box[0])
        assert (1 - at[title][1]) * height < box[1]
    for note in notes:
        assert (1 - at[note][1]) * height > boxes[-1][1] + boxes[-1][3]


def test_a_transparent_picture_is_kept_so() -> None:
    nothing = np.zeros((8, 8, 4), np.uint8)
    figure = draw_grid([noise(8, 8), nothing], ["a", ""], "Title")
    assert (np.asarray(figure.axes[1].images[0].get_array()) == nothing).all()


@pytest.mark.parametrize(
    "name", ["W" * 300, "a\nb", "black-and-tan_coonhound", "\u202eright", "猫" * 50]
)
@pytest.mark.parametrize("columns", [2, 4, 5])
def test_a_line_of_a_caption_keeps_its_number(name: str, columns: int, tmp_path: Path) -> None:
    line = caption_line(name, "→ ", " 93 %", columns)
    assert line.startswith("→ ")
    assert line.endswith(" 93 %")
    assert "\n" not in line
    figure = draw_grid([noise(8, 8)], [f"true\n{line}"], "Title", columns)
    assert line in shown_texts(figure, tmp_path)


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.svg", "other.svg"):
        save_figure(draw_grid([noise(32, 32)] * 2, ["a", "b"], "Title"), tmp_path / name)
    for ending in (".svg", ".png"):
        one, other = (tmp_path / f"{name}{ending}" for name in ("one", "other"))
        assert one.read_bytes() == other.read_bytes()


def test_numbers_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 captions"):
        draw_grid([noise(8, 8)], ["a", "b"], "Title")
