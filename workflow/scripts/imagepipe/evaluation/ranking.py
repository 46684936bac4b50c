"""The classes that a figure has room for: the worst."""

from collections.abc import Sequence

from imagepipe.evaluation.evaluation_file import ClassResult

MOST_ROWS = 20


def worst_first(by_class: Sequence[ClassResult]) -> list[ClassResult]:
    """Return the classes, lowest F1 first, of equals those with the most images.

    Those without images, whose F1 says little, are last.
    """
    return sorted(by_class, key=lambda one: (one.images == 0, one.f1.value or 0.0, -one.images))


def rest_line(by_class: Sequence[ClassResult]) -> str:
    """Return the line below the worst classes, "" if all are shown."""
    rest = len(by_class) - MOST_ROWS
    return f"… and {rest:,} more, all in the table." if rest > 0 else ""
