"""The colors of figures and pages, each for a light and a dark background.

The series are Okabe and Ito's colors (https://jfly.uni-koeln.de/color/), darkened or lightened
until they have a contrast of 3 to 1 with their background. Color-blind readers can tell them apart,
and each has another lightness, so that they differ in grey, too.
"""

# Role: (on a light background, on a dark one). Each value of a column differs from the others, as
# `figures.inline_svg` finds a role by its value.
COLORS = {
    "surface": ("#ffffff", "#14171c"),
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#5b636e", "#a3abb6"),
    "grid": ("#d9dde3", "#343a44"),
    "accent": ("#0b63a5", "#62b0ef"),
    "series1": ("#0072b2", "#56a9e8"),
    "series2": ("#c04c00", "#f08a3c"),
    "series3": ("#007a5a", "#35c496"),
    "series4": ("#a23b78", "#e08fbd"),
    "series5": ("#8a6d00", "#e0c23c"),
    "series6": ("#3d4a5c", "#b8c4d6"),
    "good": ("#00694d", "#4fd1a5"),
    "bad": ("#b03a00", "#ff9a5c"),
}
SERIES = tuple(role for role in COLORS if role.startswith("series"))


def light(role: str) -> str:
    """Return a role's color on a light background, as figures are drawn."""
    return COLORS[role][0]
