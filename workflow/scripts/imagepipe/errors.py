"""The one exception that is shown to the user as a single line."""


class UserError(Exception):
    """Something the user can mend: a file, a row, an option.

    The message is one line: what is wrong, in which file and row, and what to do.
    """
