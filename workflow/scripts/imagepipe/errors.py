"""The exceptions that are shown to the user as a single line."""

import difflib

# Of a text that is not ours, as much as a line has room for.
LONGEST_QUOTED = 100


class UserError(Exception):
    """Something the user can mend: a file, a row, an option.

    The message is one line: what is wrong, in which file and row, and what to do.
    """


class Stopped(BaseException):
    """The work was asked to stop by a signal, and has saved what it needs to carry on.

    The message is one line: where it stopped, and what to do.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def one_line(text: str) -> str:
    """Return a text that is not ours in one line, with escapes for what cannot be printed."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def quoted(text: str) -> str:
    """Return a text that is not ours in quotes, on one line and cut to a readable length."""
    if len(text) <= LONGEST_QUOTED:
        return repr(text)
    return f"{text[:LONGEST_QUOTED]!r}… ({len(text):,} characters)"


def nearest(name: str, known: list[str]) -> str:
    """Return " (did you mean …?)" for a misspelt name, or nothing if none is near."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
