"""The dataset `sample`: small drawings of the CIFAR-10 classes in Kaggle's file formats.

They are drawn from a seed, so that the workflow can be run and tested without an account and
without a download. Only the shape tells the class: colors, background, pose, clutter and noise are
random in the same way for all classes.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy
import py7zr
from PIL import Image, ImageDraw, ImageOps

from imagepipe.progress import progress

Color = tuple[int, int, int]
Point = tuple[float, float]
Pen = ImageDraw.ImageDraw

IMAGE_SIZE = 32
# Drawn four times as large and averaged, because Pillow draws without antialiasing.
CANVAS_SIZE = 4 * IMAGE_SIZE
# Of the archives' members, 2001-01-01 00:00 UTC, so that the same seed gives the same bytes.
MEMBER_TIME = 978307200


class Paint(NamedTuple):
    """The colors of a drawing."""

    body: Color
    shade: Color  # a darker one, for parts that are farther away
    second: Color  # of wings, windows, manes and cargo
    dark: Color
    light: Color


def blend(first: Color, second: Color, weight: float) -> Color:
    """Return the mean of two colors; `weight` in 0…1 is that of the second."""
    red, green, blue = (round(a + weight * (b - a)) for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def random_color(random: Random) -> Color:
    """Return a random color of low to high saturation."""
    color = (random.randint(5, 250), random.randint(5, 250), random.randint(5, 250))
    gray = sum(color) // 3
    return blend(color, (gray, gray, gray), random.uniform(0.2, 0.8))


def contrasting_color(random: Random, others: Sequence[Color]) -> Color:
    """Return a random color that differs from each other one by 90 in the sum of channels."""
    while True:
        color = random_color(random)
        gaps = [sum(abs(a - b) for a, b in zip(color, o, strict=True)) for o in others]
        if min(gaps) >= 90:
            return color


def ellipse(pen: Pen, x: float, y: float, width: float, height: float, fill: Color) -> None:
    """Fill an ellipse around (x, y)."""
    pen.ellipse((x - width / 2, y - height / 2, x + width / 2, y + height / 2), fill=fill)


def stroke(pen: Pen, points: Sequence[Point], width: float, fill: Color) -> None:
    """Draw a line with round joints and ends."""
    pen.line(points, fill=fill, width=round(width), joint="curve")
    for x, y in (points[0], points[-1]):
        ellipse(pen, x, y, width, width, fill)


# One function for each class. It draws on a transparent canvas of 128×128, about 110 wide and
# facing right; `draw_image` mirrors, rotates, shrinks and moves the result.


def draw_airplane(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a fuselage with swept wings and a tail, from the side or from above."""
    length, girth = random.uniform(92, 112), random.uniform(13, 21)
    span, sweep, chord = random.uniform(32, 48), random.uniform(10, 34), random.uniform(18, 30)
    tail, fin = 64 - length / 2, girth * random.uniform(1.3, 2)
    # From the side, the far wing and the lower half of the tail are foreshortened.
    depth = random.choice((0.3, 1))
    for wing, rudder in ((-span * depth, -fin), (span, fin * depth)):
        tip = 72 - chord - sweep * abs(wing) / span
        corners = [(72, 64), (72 - chord, 64), (tip, 64 + wing), (tip + chord / 2, 64 + wing)]
        pen.polygon(corners, paint.second)
        corners = [(tail, 64), (tail - 5, 64 + rudder), (tail + 7, 64 + rudder), (tail + 28, 64)]
        pen.polygon(corners, paint.second)
    ellipse(pen, 64, 64, length, girth, paint.body)
    ellipse(pen, 54 + length / 2, 62, 10, 6, paint.dark)


def draw_wheels(pen: Pen, xs: Iterable[float], y: float, size: float, paint: Paint) -> None:
    """Draw wheels side by side."""
    for x in xs:
        ellipse(pen, x, y, size, size, paint.dark)
        ellipse(pen, x, y, size * 0.4, size * 0.4, paint.light)


def draw_automobile(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a low body, a cabin with two windows in its middle and two wheels."""
    left, right = random.uniform(8, 16), random.uniform(112, 120)
    roof, belt, floor = random.uniform(34, 48), random.uniform(58, 64), random.uniform(84, 90)
    back, front = random.uniform(24, 42), random.uniform(76, 92)
    rear, windscreen = random.uniform(0, 16), random.uniform(8, 20)
    middle = (back + front) / 2
    cabin = [(back - rear, belt + 2), (back, roof), (front, roof), (front + windscreen, belt + 2)]
    pen.polygon(cabin, paint.body)
    pen.rounded_rectangle((left, belt, right, floor), random.uniform(4, 12), paint.body)
    for edge, slant, post in ((back, -rear, middle - 3), (front, windscreen, middle + 3)):
        window = [(edge + slant / 2, belt), (edge, roof + 5), (post, roof + 5), (post, belt)]
        pen.polygon(window, paint.second)
    draw_wheels(pen, (left + 22, right - 22), floor, random.uniform(20, 27), paint)


def draw_truck(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a cab in front of a tall box or a low load bed, on two or three wheels."""
    left, right = random.uniform(6, 14), random.uniform(114, 122)
    roof, floor = random.uniform(38, 50), random.uniform(84, 90)
    cab = right - random.uniform(26, 42)
    load_top = roof - random.uniform(-3, 16) if random.random() < 0.6 else random.uniform(60, 68)
    pen.rectangle((left, floor - 8, right, floor), paint.shade)
    pen.rectangle((left, load_top, cab - random.uniform(1, 6), floor - 4), paint.second)
    front = [(cab, floor), (cab, roof), (right - 12, roof), (right, roof + 22), (right, floor)]
    pen.polygon(front, paint.body)
    pen.rectangle((cab + 7, roof + 6, right - 13, roof + 19), paint.light)
    xs = (left + 16, right - 17, left + 39)[: random.randint(2, 3)]
    draw_wheels(pen, xs, floor, random.uniform(20, 26), paint)


def draw_bird(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a plump body with head, beak, wing and tail, on two thin legs."""
    width, height = random.uniform(52, 66), random.uniform(34, 46)
    x, y, head = 64 + width * 0.45, random.uniform(34, 44), random.uniform(23, 30)
    tail_x, tail_y = 46 - width / 2 - random.uniform(0, 12), random.uniform(54, 82)
    for leg in (58, 70):
        stroke(pen, [(leg, 66), (leg + 3, 106), (leg + 11, 107)], 4, paint.dark)
    pen.polygon([(54, 54), (tail_x, tail_y - 7), (tail_x, tail_y + 8), (54, 76)], paint.shade)
    ellipse(pen, 64, 66, width, height, paint.body)
    stroke(pen, [(74, 62), (x, y)], head, paint.body)
    tip = (x + random.uniform(23, 34), y + 3)
    pen.polygon([tip, (x + 8, y - 5), (x + 8, y + 7)], paint.light)
    ellipse(pen, x + 4, y - 3, 6, 6, paint.dark)
    lift = random.choice((-1, 0.2, 0.5)) * random.uniform(24, 40)
    pen.polygon([(76, 60), (54, 72), (28, 66 + lift), (48, 54 + lift / 4)], paint.second)


def draw_trunk(pen: Pen, random: Random, paint: Paint, legs: float, girth: float) -> float:
    """Draw the trunk and legs of a four-legged animal; return the y of its back."""
    back = 112 - legs - girth
    for x, fill in ((38, paint.shade), (88, paint.shade), (28, paint.body), (78, paint.body)):
        hip, foot = (x, back + girth * 0.7), (x + random.uniform(-7, 7), 109)
        stroke(pen, [hip, foot], random.uniform(7, 10), fill)
    pen.rounded_rectangle((20, back, 90, back + girth), girth * 0.45, paint.body)
    return back


def draw_pet(pen: Pen, random: Random, paint: Paint, tail: float) -> tuple[float, float, float]:
    """Draw a trunk and a tail, or nothing; return x, y and size of the head."""
    if random.random() < 0.4:
        return 64, 66, random.uniform(60, 76)
    back = draw_trunk(pen, random, paint, random.uniform(22, 32), random.uniform(24, 32))
    tip = (random.uniform(4, 18), back - 30)
    stroke(pen, [(25, back + 9), (12, back - 6), tip], tail, paint.body)
    return 92, back - random.uniform(2, 10), random.uniform(34, 42)


def draw_cat(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a cat or its face: pointed ears, slit eyes, whiskers, a thin tail."""
    x, y, size = draw_pet(pen, random, paint, tail=random.uniform(5, 9))
    ear, height = size * random.uniform(0.5, 0.8), size * random.uniform(0.78, 0.95)
    ellipse(pen, x, y, size, height, paint.body)
    ellipse(pen, x, y + size * 0.13, size * 0.13, size * 0.09, paint.dark)
    for side in (-size, size):
        tip = (x + side * 0.46, y - ear)
        pen.polygon([(x + side * 0.48, y), tip, (x + side * 0.06, y - size * 0.36)], paint.body)
        ellipse(pen, x + side * 0.2, y - size * 0.07, size * 0.17, size * 0.17, paint.light)
        ellipse(pen, x + side * 0.2, y - size * 0.07, size * 0.06, size * 0.17, paint.dark)
        for slope in (0.11, 0.25):
            whisker = [(x + side * 0.12, y + size * 0.17), (x + side * 0.6, y + size * slope)]
            pen.line(whisker, paint.light, round(size / 30) + 1)


def draw_dog(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a dog or its face: hanging ears, a broad muzzle, a big nose, a thick tail."""
    x, y, size = draw_pet(pen, random, paint, tail=random.uniform(6, 11))
    width, ear = size * random.uniform(0.7, 0.9), size * random.uniform(0.45, 0.75)
    ellipse(pen, x, y, width, size, paint.body)
    for side in (-width, width):
        ear_y = y - size * 0.3 + ear * 0.35
        ellipse(pen, x + side * 0.5, ear_y, size * 0.24, ear, paint.shade)
        ellipse(pen, x + side * 0.22, y - size * 0.14, size * 0.13, size * 0.13, paint.dark)
    muzzle = random.choice((paint.light, paint.body, paint.second))
    ellipse(pen, x, y + size * 0.24, width * 0.62, size * 0.44, muzzle)
    ellipse(pen, x, y + size * 0.13, size * 0.22, size * 0.15, paint.dark)


def draw_deer(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a slender animal with a thin neck, antlers or large ears, and a stub of a tail."""
    back = draw_trunk(pen, random, paint, random.uniform(34, 44), random.uniform(20, 28))
    x, y = random.uniform(94, 102), back - random.uniform(12, 24)
    ellipse(pen, 19, back + 7, 13, 9, paint.light)
    stroke(pen, [(82, back + 10), (x, y)], random.uniform(10, 15), paint.body)
    stroke(pen, [(x, y), (x + 15, y + 6)], random.uniform(9, 12), paint.body)
    ellipse(pen, x - 9, y - 3, 15, 7, paint.shade)
    if random.random() < 0.65:
        reach = random.uniform(16, 28)
        for lean in (-12, 8):
            fork, tip = (x + lean, y - reach / 2), (x + lean, y - reach)
            stroke(pen, [(x, y - 4), fork, tip], 4, paint.second)
            stroke(pen, [fork, (x + lean * 2, y - reach * 0.8)], 4, paint.second)


def draw_horse(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a strong animal with a broad neck, a mane and a long tail."""
    back = draw_trunk(pen, random, paint, random.uniform(34, 42), random.uniform(23, 31))
    x, y = random.uniform(94, 101), back - random.uniform(12, 22)
    end = (10, back + random.uniform(24, 44))
    stroke(pen, [(22, back + 7), (12, back + 14), end], random.uniform(6, 10), paint.second)
    stroke(pen, [(76, back + 12), (x, y)], random.uniform(15, 22), paint.body)
    stroke(pen, [(x, y), (x + 17, y + 11)], random.uniform(10, 15), paint.body)
    stroke(pen, [(70, back + 3), (x - 6, y - 6)], random.uniform(6, 11), paint.second)
    pen.polygon([(x - 5, y - 5), (x, y - 19), (x + 5, y - 5)], paint.body)


def draw_frog(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a squatting frog from the front: bulging eyes, a wide mouth, folded hind legs."""
    width, height = random.uniform(60, 76), random.uniform(44, 58)
    eye, eye_x, eye_y = random.uniform(16, 24), random.uniform(15, 23), 74 - height / 2
    ellipse(pen, 64, 72, width, height, paint.body)
    for side in (-1, 1):
        ellipse(pen, 64 + side * width * 0.52, 86, random.uniform(24, 34), 40, paint.shade)
        stroke(pen, [(64 + side * 32, 104), (64 + side * width * 0.8, 106)], 9, paint.shade)
        stroke(pen, [(64 + side * 14, 80), (64 + side * 19, 106)], 9, paint.body)
        ellipse(pen, 64 + side * eye_x, eye_y, eye, eye, paint.body)
        ellipse(pen, 64 + side * eye_x, eye_y, eye * 0.7, eye * 0.7, paint.light)
        ellipse(pen, 64 + side * eye_x, eye_y, eye * 0.4, eye * 0.3, paint.dark)
    mouth = (64 - width * 0.36, 50, 64 + width * 0.36, 50 + height * 0.6)
    pen.arc(mouth, 10, 170, paint.dark, 4)


def draw_ship(pen: Pen, random: Random, paint: Paint) -> None:
    """Draw a hull with slanting ends that carries decks and funnels, or a mast with two sails."""
    left, right = random.uniform(6, 14), random.uniform(114, 122)
    deck, keel = random.uniform(68, 78), random.uniform(90, 100)
    hull = [(left, deck), (right, deck - 5), (right - 20, keel), (left + 12, keel)]
    pen.polygon(hull, paint.body)
    if random.random() < 0.6:
        back, front = random.uniform(20, 36), random.uniform(78, 98)
        pen.rectangle((back, deck - 16, front, deck), paint.light)
        pen.rectangle((back + 9, deck - 29, front - 12, deck - 16), paint.second)
        for x in (back + 20, front - 30)[: random.randint(1, 2)]:
            pen.rectangle((x, deck - 46, x + 11, deck - 29), paint.dark)
    else:
        mast, top, boom = random.uniform(50, 66), random.uniform(12, 24), deck - 8
        jib, sail = mast + random.uniform(24, 46), mast - random.uniform(24, 40)
        pen.line([(mast, deck), (mast, top)], paint.dark, 5)
        pen.polygon([(mast + 5, top + 3), (mast + 5, boom), (jib, boom)], paint.second)
        pen.polygon([(mast - 5, top + 9), (mast - 5, boom), (sail, boom)], paint.light)


DRAW: dict[str, Callable[[Pen, Random, Paint], None]] = {
    function.__name__.removeprefix("draw_"): function
    for function in (
        *(draw_airplane, draw_automobile, draw_bird, draw_cat, draw_deer),
        *(draw_dog, draw_frog, draw_horse, draw_ship, draw_truck),
    )
}
CLASSES = tuple(DRAW)


def draw_clutter(pen: Pen, random: Random, color: Color, largest: float) -> None:
    """Draw an ellipse, a rectangle or a bar, at most `largest` wide and high."""
    x, y = random.uniform(0, CANVAS_SIZE), random.uniform(0, CANVAS_SIZE)
    width, height = random.uniform(6, largest), random.uniform(6, largest)
    shape = random.choice(("ellipse", "rectangle", "bar"))
    if shape == "ellipse":
        ellipse(pen, x, y, width, height, color)
    elif shape == "rectangle":
        pen.rectangle((x, y, x + width, y + height), color)
    else:
        stroke(pen, [(x, y), (x + width, y + random.choice((-1, 1)) * height)], 7, color)


def draw_image(class_name: str, random: Random) -> Image.Image:
    """Draw an image of a class, 32×32 RGB, varied by `random` alone.

    Raises `KeyError` if the class is not one of `CLASSES`.
    """
    draw_class = DRAW[class_name]
    upper = random_color(random)
    lower = blend(upper, random_color(random), random.choice((0.2, 0.8)))
    body = contrasting_color(random, (upper, lower))
    second = contrasting_color(random, (upper, lower, body))
    dark, light = blend((10, 10, 10), body, 0.2), blend((245, 245, 245), second, 0.2)
    paint = Paint(body, blend(body, dark, 0.3), second, dark, light)

    canvas = Image.new("RGB", (CANVAS_SIZE, CANVAS_SIZE), upper)
    pen = ImageDraw.Draw(canvas)
    horizon = [(0, random.uniform(40, 115)), (CANVAS_SIZE, random.uniform(40, 115))]
    pen.polygon([*horizon, (CANVAS_SIZE, CANVAS_SIZE), (0, CANVAS_SIZE)], lower)
    for _ in range(random.randint(2, 7)):
        draw_clutter(pen, random, blend(upper, random_color(random), 0.4), 50)

    layer = Image.new("RGBA", canvas.size)
    draw_class(ImageDraw.Draw(layer), random, paint)
    if random.random() < 0.5:
        layer = ImageOps.mirror(layer)
    layer = layer.rotate(random.gauss(0, 10))
    size = round(CANVAS_SIZE * random.uniform(0.6, 0.95))
    layer = layer.resize((size, size), Image.Resampling.BILINEAR)
    room = CANVAS_SIZE - size
    offset = (random.randint(-8, room + 8), random.randint(-8, room + 8))
    canvas.paste(layer, offset, layer)

    # Clutter in front of the object, so that no single detail tells its class.
    for _ in range(random.randrange(4)):
        draw_clutter(pen, random, random_color(random), 32)

    pixels = numpy.asarray(canvas.reduce(CANVAS_SIZE // IMAGE_SIZE), dtype=numpy.float32)
    noise = numpy.frombuffer(random.randbytes(pixels.size), dtype=numpy.uint8)
    strength = random.uniform(0.05, 0.3)
    pixels = pixels + strength * (noise.reshape(pixels.shape).astype(numpy.float32) - 127.5)
    return Image.fromarray(pixels.clip(0, 255).round().astype(numpy.uint8))


def draw_labels(split: str, number: int, seed: int) -> list[str]:
    """Return the classes of the images 1 to `number` of a split.

    Each block of ten images has the ten classes in random order: they are balanced, and an image's
    class does not depend on `number`.
    """
    labels: list[str] = []
    for block in range(math.ceil(number / len(CLASSES))):
        random = Random(f"{seed}/{split}/labels/{block}")
        labels += random.sample(CLASSES, len(CLASSES))
    return labels[:number]


def write_label_file(path: Path, labels: Iterable[str]) -> None:
    """Write labels as `id,label`, with ids from 1."""
    lines = ["id,label", *(f"{number},{label}" for number, label in enumerate(labels, start=1))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def write_archive(path: Path, split: str, labels: Sequence[str], seed: int) -> None:
    """Draw an image for each label, as SPLIT/ID.png in a .7z archive."""
    # PNG files hardly shrink further.
    filters = [{"id": py7zr.FILTER_COPY}]
    with (
        tempfile.TemporaryDirectory() as temporary,
        py7zr.SevenZipFile(path, "w", filters=filters) as archive,
    ):
        # py7zr takes time and mode from a file; for bytes in memory it would take the clock's.
        image_file = Path(temporary, "image.png")
        bar = progress(labels, total=len(labels), description=f"draw {split}", unit="images")
        for number, label in enumerate(bar, start=1):
            draw_image(label, Random(f"{seed}/{split}/{number}")).save(image_file)
            image_file.chmod(0o644)
            os.utime(image_file, (MEMBER_TIME, MEMBER_TIME))
            archive.write(image_file, f"{split}/{number}.png")


def write_sample(
    folder: Path, train_images: int = 1000, test_images: int = 500, seed: int = 0
) -> None:
    """Write the dataset `sample` to an existing folder.

    It has the files of Kaggle's competition (`train.7z`, `test.7z`, `trainLabels.csv`,
    `sampleSubmission.csv`), and the test images' true labels (`testLabels.csv`). The same arguments
    give the same bytes; an image depends only on the seed, its split and its id.
    """
    train_labels = draw_labels("train", train_images, seed)
    test_labels = draw_labels("test", test_images, seed)
    write_archive(folder / "train.7z", "train", train_labels, seed)
    write_archive(folder / "test.7z", "test", test_labels, seed)
    write_label_file(folder / "trainLabels.csv", train_labels)
    write_label_file(folder / "testLabels.csv", test_labels)
    write_label_file(folder / "sampleSubmission.csv", ["cat"] * test_images)
