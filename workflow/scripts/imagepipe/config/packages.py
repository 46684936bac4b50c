"""Checks that packages are installed that only some calls need."""

from importlib.util import find_spec

from imagepipe.config.dataset import Source


def is_installed(package: str) -> bool:
    """Say whether a package can be found. It is not imported, which may take seconds."""
    return find_spec(package) is not None


def not_installed(package: str) -> str:
    """Return the message for a package that is not installed."""
    return f"{package} is not installed; run `pip install {package}`"


def missing_download_tool(source: Source, raw_dir: object) -> str | None:
    """Return a message if the package for a dataset's download is missing, else None."""
    if raw_dir is not None or source.source != "kaggle" or is_installed("kagglehub"):
        return None
    return (
        f"{not_installed('kagglehub')} (this project's extra `kaggle`), "
        f"or get {source.bundle or source.competition} yourself and set raw_dir to its folder"
    )


def missing_tensorboard() -> str | None:
    """Return a message if the package for the option `tensorboard` is missing, else None."""
    if is_installed("tensorboard"):
        return None
    return (
        f"{not_installed('tensorboard')} (this project's extra `tensorboard`), "
        "or set tensorboard=false"
    )
