"""The figure that is written where there is nothing to draw."""

from matplotlib.figure import Figure

from imagepipe.display.colors import light
from imagepipe.display.layout import MARGIN, TITLE_HEIGHT, WIDTH, titled_figure, write
from imagepipe.display.text import fit, text_width

SIZE = 9.0
LINE = 0.18


def draw_sentence(sentence: str, title: str) -> Figure:
    """Draw a title and a sentence, in as many lines as it needs. Call it inside `styled`."""
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, SIZE) <= WIDTH:
            lines[-1] = longer
        else:
            lines.append(fit(word, WIDTH, SIZE))
    figure = titled_figure(title, TITLE_HEIGHT + len(lines) * LINE + MARGIN)
    for number, line in enumerate(lines):
        top = TITLE_HEIGHT + number * LINE
        write(figure, MARGIN, top, line, size=SIZE, color=light("muted"))
    return figure
