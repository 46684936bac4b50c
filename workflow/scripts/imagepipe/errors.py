"""The exceptions that are shown to the user as a single line."""


class UserError(Exception):
    """Something the user can mend: a file, a row, an option.

    The message is one line: what is wrong, in which file and row, and what to do.
    """


class Stopped(Exception):  # noqa: N818 - it is no error
    """The work was asked to stop by a signal, and has saved what it needs to carry on.

    The message is one line: where it stopped, and what to do.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
