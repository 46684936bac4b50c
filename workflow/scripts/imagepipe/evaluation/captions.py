"""The captions of figures: one text each, for the report's page and for Snakemake's own report.

The texts lie beside this module, so that they are a part of its code, as `captions.NAME.rst`.
"""

from pathlib import Path


def read_caption(name: str) -> str:
    """Return a figure's caption as plain text on one line."""
    path = Path(__file__).with_suffix(f".{name}.rst")
    # A number and its percent sign stay on one line.
    return " ".join(path.read_text(encoding="utf-8").split()).replace(" %", "\N{NO-BREAK SPACE}%")
