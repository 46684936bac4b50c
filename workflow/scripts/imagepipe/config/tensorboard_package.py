"""Checks that TensorBoard is installed, which the option `tensorboard` needs."""

from importlib.util import find_spec


def missing_tensorboard() -> str | None:
    """Return a message if the package is missing, else None."""
    if find_spec("tensorboard"):
        return None
    return (
        "tensorboard is not installed; run `pip install tensorboard` (this project's extra "
        "`tensorboard`), or set tensorboard=false"
    )
