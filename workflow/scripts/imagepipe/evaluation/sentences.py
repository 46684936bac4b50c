"""Sentences with numbers, for HTML and for Markdown.

A number keeps its name and its exact value beside the text that is shown, so that a test can
compare each number of a page with one computed from the logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from imagepipe.config.metric_names import is_fraction_of_images, metric_words
from imagepipe.config.summary import duration
from imagepipe.display.escaping import escape_markdown, printable, shorten
from imagepipe.evaluation.evaluation_file import Estimate

LONGEST_NAME = 40
# Keeps a number and its unit on one line.
SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Number:
    """A value as `text`, such as "95.0 %". `name` says which one, such as "accuracy.value"."""

    name: str
    value: float
    text: str

    def __html__(self) -> str:
        # `Markup.format` would take three times as long, for thousands of numbers.
        name, text = escape(printable(self.name)), escape(self.text)
        return Markup(f'<span data-name="{name}" data-value="{self.value!r}">{text}</span>')


@dataclass(frozen=True)
class Sentence:
    """A template with {fields}: numbers, foreign text, other sentences; and a section to read on.

    The template is plain text without signs that HTML or Markdown would interpret.
    """

    template: str
    values: Mapping[str, "Number | Sentence | str"]
    section: str | None = None

    def __html__(self) -> str:
        return escape(self.template).format(
            **{
                name: _isolated(value) if isinstance(value, str) else value
                for name, value in self.values.items()
            }
        )

    def markdown(self) -> str:
        """Return the sentence as Markdown of one line."""
        return self.template.format(
            **{name: _markdown(value) for name, value in self.values.items()}
        )


def _isolated(text: str) -> Markup:
    """Return foreign text whose direction of writing does not affect the text around it."""
    return Markup("<bdi>{}</bdi>").format(shorten(text, LONGEST_NAME))


def _markdown(value: Number | Sentence | str) -> str:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, Sentence):
        return value.markdown()
    return escape_markdown(shorten(value, LONGEST_NAME))


def say(
    template: str, section: str | None = None, /, **values: Number | Sentence | str
) -> Sentence:
    """Return a sentence."""
    return Sentence(template, values, section)


def listed(
    start: str, parts: Sequence[Sentence], section: str | None = None, end: str = "."
) -> Sentence:
    """Return a sentence that lists others."""
    fields = {f"part{number}": part for number, part in enumerate(parts)}
    return Sentence(start + ", ".join(f"{{{name}}}" for name in fields) + end, fields, section)


def with_interval(name: str, value: Number, estimate: Estimate) -> Sentence:
    """Return a value with its 95 % confidence interval, such as "0.84 (0.62 to 0.95)".

    The bounds are shown with the decimals of the value.
    """
    if estimate.low is None or estimate.high is None:
        return say("{value}", value=value)
    return say(
        "{value} ({low} to {high})",
        value=value,
        low=like(value, f"{name}.low", estimate.low),
        high=like(value, f"{name}.high", estimate.high),
    )


def like(shown: Number, name: str, value: float) -> Number:
    """Return a number as another one is shown: as a percentage, or with as many decimals."""
    if shown.text.endswith("%"):
        return percent(name, value)
    return decimal(name, value, len(shown.text.partition(".")[2]))


def whole(name: str, value: int) -> Number:
    """Return a whole number, such as 2,000."""
    return Number(name, value, f"{value:,}")


def amount(name: str, value: int, one: str = "image", several: str | None = None) -> Number:
    """Return a number of things, such as "1 image" or "2,000 images"."""
    return Number(name, value, f"{value:,}{SPACE}{one if value == 1 else several or f'{one}s'}")


def percent(name: str, value: float) -> Number:
    """Return a fraction as a percentage, which is 0 or 100 only if the fraction is just that."""
    text = f"{100 * value:.1f}"
    if text in ("0.0", "100.0") and 0 < value < 1:
        text = f"{100 * value:.2f}"
        text = {"0.00": "under 0.01", "100.00": "over 99.99"}.get(text, text)
    return Number(name, value, f"{text}{SPACE}%")


def points(name: str, value: float) -> Number:
    """Return a difference of two fractions in percentage points."""
    return Number(name, value, f"{100 * value:.1f}{SPACE}point{'' if value == 0.01 else 's'}")


def decimal(name: str, value: float, digits: int = 2) -> Number:
    """Return a number with decimals."""
    return Number(name, value, f"{value:.{digits}f}")


def time(name: str, seconds: float) -> Number:
    """Return a duration, such as "2 min 5 s"."""
    return Number(name, seconds, duration(seconds).replace(" ", SPACE))


def metric_number(name: str, metric: str, value: float) -> Number:
    """Return a metric's value as it is usually shown: a percentage, or four decimals."""
    return percent(name, value) if is_fraction_of_images(metric) else decimal(name, value, 4)


def metric_name(metric: str) -> str:
    """Return a metric's words as the start of a line, such as "Log loss"."""
    words = metric_words(metric)
    return words[0].upper() + words[1:]
