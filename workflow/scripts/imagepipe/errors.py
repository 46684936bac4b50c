"""Exceptions that reach the user as one line, and helpers for their messages."""

import difflib

# The most characters of foreign text that a message quotes.
LONGEST_QUOTED = 100
# They join or part the letters beside them, as in emoji and in Persian, and are harmless.
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


class UserError(Exception):
    """A mistake that the user can correct: in a file, a row, an option.

    The message is one line: what is wrong, in which file and row, and what to do.
    """


class Stopped(BaseException):
    """A signal stopped the work, which has saved what it needs to resume.

    The message is one line: where it stopped, and what to do.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def one_line(text: str) -> str:
    """Return foreign text on one line, with unprintable characters escaped."""
    return escaped(" ".join(text.split()))


def escaped(text: str, harmless: str = JOINERS) -> str:
    """Return foreign text with escapes for characters that are neither printable nor harmless."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in harmless else ascii(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    """Return foreign text in quotes, on one line, cut to a readable length."""
    if len(text) <= LONGEST_QUOTED:
        return repr(text)
    return f"{text[:LONGEST_QUOTED]!r}… ({len(text):,} characters)"


def nearest(name: str, known: list[str]) -> str:
    """Return " (did you mean …?)" for a misspelled name, or "" if no known name is close."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
