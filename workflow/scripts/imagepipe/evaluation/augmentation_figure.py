"""The figure of what augmentation does to some training images."""

import textwrap
from collections.abc import Sequence

import numpy as np
import yaml
from matplotlib.figure import Figure
from PIL import Image

from imagepipe.config.recipe import Augmentation, Recipe
from imagepipe.config.recipe_checks import scaled_size
from imagepipe.evaluation.augmentation_examples import Example, Variant, shown_epochs
from imagepipe.evaluation.picture_grid import caption_line, draw_grid
from imagepipe.training.schedule import TrainingSchedule

# Pixels of the longer side of a picture: there are many.
LONGEST_SIDE = 96
COLUMNS = 4
# Where there are only originals.
MORE_COLUMNS = 5
# Letters of a line of small print.
NOTE_LENGTH = 72


def draw_augmentation_examples(
    examples: Sequence[Example], labels: Sequence[str], recipe: Recipe
) -> Figure:
    """Draw a row for each example: the image, and its variants. Call it inside `styled`.

    labels: those of all images of the array, as text.
    """
    names = [labels[one.row] for one in examples]
    if recipe.augmentation == Augmentation() and not recipe.progressive_resizing:
        return draw_grid(
            [_place(one.original, one.original) for one in examples],
            [caption_line(name, columns=MORE_COLUMNS) for name in names],
            "Training images, without augmentation",
            MORE_COLUMNS,
            notes=["The recipe has no augmentation: every epoch shows the images as they are."],
        )
    epochs = shown_epochs(recipe.epochs)
    pictures, captions = [], []
    for one, name in zip(examples, names, strict=True):
        pictures.append(_place(one.original, one.original))
        captions.append(caption_line(name))
        for variant in one.variants:
            pictures.append(_place(variant.picture if variant else None, one.original))
            captions.append(_caption(name, variant, labels))
        # A short training has fewer epochs than the figure has columns.
        for _ in range(COLUMNS - 1 - len(epochs)):
            pictures.append(_place(None, one.original))
            captions.append("")
    return draw_grid(
        pictures,
        captions,
        "What augmentation does to training images",
        COLUMNS,
        column_titles=["original", *(f"epoch {epoch + 1}" for epoch in epochs)],
        notes=_notes(examples, recipe),
    )


def _place(picture: np.ndarray | None, original: np.ndarray) -> np.ndarray:
    """Return a picture in the middle of a transparent place of the original's size."""
    height, width = original.shape[:2]
    if picture is None:
        return np.zeros((height, width, 4), np.uint8)
    if picture.shape != original.shape:
        top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        place = Image.new("RGBA", (width, height))
        place.paste(Image.fromarray(picture), (left, top))
    else:
        place = Image.fromarray(picture)
    place.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(place)


def _caption(name: str, variant: Variant | None, labels: Sequence[str]) -> str:
    if variant is None:
        return "not in this epoch"
    if variant.partner is None:
        return ""
    partner = labels[variant.partner]
    shares = ((name, variant.lam), (partner, 1 - variant.lam))
    return "\n".join(caption_line(one, f"{100 * share:.0f} % ") for one, share in shares)


def _notes(examples: Sequence[Example], recipe: Recipe) -> list[str]:
    """Return the recipe's settings, and the sizes of smaller images, in lines of small print."""
    settings = recipe.augmentation.model_dump(exclude_defaults=True)
    text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=True, width=1000)
    notes = [f"augmentation: {text}"]
    schedule = TrainingSchedule(recipe, len(examples))
    for epoch in shown_epochs(recipe.epochs):
        scale = schedule.image_scale(epoch)
        if scale != 1:
            height, width = scaled_size(examples[0].original.shape[:2], scale)
            notes.append(f"epoch {epoch + 1}: {height} × {width} pixels (progressive_resizing)")
    return [line for note in notes for line in textwrap.wrap(note, NOTE_LENGTH)]
