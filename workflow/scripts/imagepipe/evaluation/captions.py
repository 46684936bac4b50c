"""The names and captions of figures, for the report's page and for Snakemake's own report.

The captions lie beside this module, so that they are a part of its code, as `captions.NAME.rst`.
"""

from pathlib import Path

# The figures that the page shows, and their names, for readers who do not see them.
FIGURES = {
    "learning_curves": "Learning curves",
    "confusion": "Confusion of classes",
    "classes": "Precision, recall, F1 and accuracy of each class",
    "reliability": "Reliability of the confidence",
    "mistakes": "The surest mistakes",
    "unsure": "The least sure right predictions",
    "saliency": "Where the network looks",
    "test_predictions": "Predictions for the test images",
    "test_pictures": "Test images and their predictions",
    "class_balance": "Images of each class in the splits",
    "augmentation": "Training images before and after augmentation",
    "comparison": "The validated runs",
    "times": "Time of each stage",
    "workflow": "The stages and their order",
}


def read_caption(name: str) -> str:
    """Return a figure's caption as plain text on one line."""
    path = Path(__file__).with_suffix(f".{name}.rst")
    # A number and its percent sign stay on one line.
    return " ".join(path.read_text(encoding="utf-8").split()).replace(" %", "\N{NO-BREAK SPACE}%")
