"""The figure that is written where there is nothing to draw."""

from matplotlib.figure import Figure

from imagepipe.display.colors import light
from imagepipe.display.figures import COLUMN_WIDTH, new_figure
from imagepipe.display.text import fit, text_width

MARGIN = 0.12  # inches
LINE = 0.18


def draw_sentence(sentence: str, title: str) -> Figure:
    """Draw a title and a sentence, in as many lines as it needs. Call it inside `styled`."""
    width = COLUMN_WIDTH - 2 * MARGIN
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, 9) <= width:
            lines[-1] = longer
        else:
            lines.append(fit(word, width, 9))
    height = 2 * MARGIN + 0.26 + len(lines) * LINE
    figure = new_figure(height=height)
    figure.set_layout_engine("none")
    left = MARGIN / COLUMN_WIDTH
    title = fit(title, width, 10.5)
    figure.text(left, 1 - MARGIN / height, title, size=10, weight="bold", va="top")
    for number, line in enumerate(lines):
        top = MARGIN + 0.26 + number * LINE
        figure.text(left, 1 - top / height, line, color=light("muted"), va="top")
    return figure
