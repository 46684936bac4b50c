"""Checks that the package for a download is installed."""

from importlib.util import find_spec

from imagepipe.config.dataset import Source


def missing_download_tool(source: Source, raw_dir: object) -> str | None:
    """Return a message if the package for a dataset's download is missing, else None."""
    if raw_dir is not None or source.source != "kaggle" or find_spec("kagglehub"):
        return None
    return (
        "kagglehub is not installed; run `pip install kagglehub` (this project's extra `kaggle`), "
        f"or get {source.bundle or source.competition} yourself and set raw_dir to its folder"
    )
