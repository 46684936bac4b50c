"""What the columns of a table are: ids, labels, classes, groups, parts.

The id column is the one whose values are the images' names. The label column is the one that the
sample submission names, or whose values are the sample's columns; else the one with a name such as
"label" and few different values. Columns with other features of an image, or that tell the label in
other words, are left alone.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence

from imagepipe.inspection.images import image_key, role_of
from imagepipe.inspection.tables import Table

# Share of a column's values that must be images' names.
ID_SHARE = 0.5
ID_WORDS = ("id", "image", "img", "file", "filename", "name", "path")
LABEL_WORDS = (
    "label", "labels", "class", "classname", "classes", "target", "diagnosis", "species", "breed",
    "category", "tag", "tags", "emotion", "dx", "type", "kind", "disease", "digit", "letter", "y",
    "id", "grade", "level",
)  # fmt: skip
GROUP_WORDS = (
    "patient", "subject", "driver", "person", "participant", "user", "group", "lesion", "donor",
    "animal", "video", "clip", "sequence", "series", "slide", "individual", "burst", "study",
)  # fmt: skip
SEPARATORS = (" ", "|", ",", ";")
SAMPLE_NAME = re.compile(r"(?=.*sample|.*example|.*format).*subm|subm.*(sample|example|format)")


def words(name: str) -> list[str]:
    """Return the words of a column's name: "patientId" and "patient_id" have two."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())


def is_sample_name(name: str) -> bool:
    return SAMPLE_NAME.match(name.lower()) is not None


def id_column(table: Table, keys: Collection[str]) -> tuple[str, int] | None:
    """Return the column whose values are images' names, and how many of them are, or None."""
    best: tuple[int, bool, int, str] | None = None
    for n, (column, values) in enumerate(table.columns.items()):
        if not table.whole(column):
            continue
        different = set(values)
        if len(different) < ID_SHARE * len(values):
            continue
        found = sum(image_key(value) in keys for value in different)
        hinted = bool(set(words(column)) & set(ID_WORDS))
        if found >= ID_SHARE * len(different) and (best is None or (found, hinted, -n) > best[:3]):
            best = (found, hinted, -n, column)
    return best and (best[3], best[0])


def is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def label_like(table: Table, column: str) -> bool:
    """Return whether a column has few different values, that are no measurements."""
    values = [value for value in table.columns[column] if value]
    different = set(values)
    if len(different) < 2 or len(different) > max(20, len(values) // 2):
        return False
    return not any(is_number(value) and not float(value).is_integer() for value in different)


def label_columns(table: Table, ids: str, sample: Table | None) -> list[str]:
    """Return the columns that may hold the labels, the likeliest first.

    It is one column where the sample submission tells which.
    """
    rest = [column for column in table.columns if column != ids]
    if sample is not None:
        told = [column for column in rest if told_by(sample, table.columns[column], column)]
        if told:
            return told[:1]
    scored: list[tuple[int, str]] = []
    for column in rest:
        named = words(column)
        if not label_like(table, column) or is_split(table.columns[column]):
            continue
        exact = len(named) == 1 and named[0] in LABEL_WORDS
        hinted = set(named) & set(LABEL_WORDS) and "id" not in named[-1:]
        score = 3 if exact else 2 if hinted else 0
        if set(named) & set(GROUP_WORDS):
            score = -1
        scored.append((score, column))
    if not scored:
        return []
    scored.sort(key=lambda one: -one[0])
    return [column for _, column in scored]


def told_by(sample: Table, values: Sequence[str], column: str) -> bool:
    """Return whether the sample submission asks for the values of a column."""
    asked = sample.header[1:]
    different = set(values)
    if len(asked) == 1:
        return asked[0].casefold() == column.casefold()
    return len(different) > 1 and len(different & set(asked)) >= 0.8 * len(different)


def is_split(values: Sequence[str]) -> bool:
    """Return whether all values say train, test or valid, such as "PrivateTest"."""
    different = set(values)
    return 1 < len(different) <= 4 and all(role_of(value) for value in different)


def split_column(table: Table) -> str | None:
    """Return the column that says which part an image is in, or None."""
    return next((column for column, values in table.columns.items() if is_split(values)), None)


def split_values(table: Table, column: str) -> dict[str, list[str]]:
    """Return {part: values of the column}, the rarest first."""
    counts = Counter(table.columns[column])
    found: dict[str, list[str]] = {}
    for value in sorted(counts, key=lambda one: (counts[one], one)):
        found.setdefault(role_of(value) or "", []).append(value)
    return found


def class_columns(table: Table, ids: str, sample: Table | None) -> list[str]:
    """Return the columns of 0 and 1 that are classes, or none."""
    binary = [
        column
        for column, values in table.columns.items()
        if column != ids and {number(value) for value in values} <= {0.0, 1.0}
    ]
    if sample is not None and len(sample.header) > 2:
        asked = sample.header[1:]
        return asked if set(asked) <= set(binary) else []
    return binary if len(binary) > 2 else []


def number(value: str) -> float | None:
    return float(value) if is_number(value) else None


def have_several(table: Table, columns: Sequence[str]) -> bool:
    """Return whether a row has several ones, or none."""
    rows = zip(*(table.columns[column] for column in columns), strict=True)
    return any(sum(map(float, row)) != 1 for row in rows)


def separator_of(values: Sequence[str]) -> str | None:
    """Return what separates an image's several labels, or None if each has one.

    There are several where the same words combine freely, in different numbers: "haze primary" and
    "clear primary water", but not "Fat Hen" and "Common wheat".
    """
    different = set(values) - {""}
    for separator in SEPARATORS:
        split = [[part for part in value.split(separator) if part] for value in different]
        lengths = {len(parts) for parts in split}
        tokens = {part for parts in split for part in parts}
        alone = {parts[0] for parts in split if len(parts) == 1}
        combined = {part for parts in split if len(parts) > 1 for part in parts}
        if (
            len(lengths) > 1
            and len(tokens) < len(different)
            and (len(alone & combined) > 0 or len(lengths) > 2)
        ):
            return separator
    return None


def group_column(table: Table, ids: str, labels: Sequence[str] | None) -> str | None:
    """Return the column of the patients, drivers or the like that images belong to, or None.

    One that tells the label in other words is none.
    """
    for column, values in table.columns.items():
        if column == ids or not set(words(column)) & set(GROUP_WORDS) or not table.whole(column):
            continue
        different = set(values)
        if not 2 <= len(different) < len(values) or values == labels:
            continue
        if labels is not None and len(labels) == len(values):
            pairs = set(zip(values, labels, strict=True))
            if len(pairs) == len(different) == len(set(labels)):
                continue
        return column
    return None


# The label in an image's name: cat.0.jpg, great_dane_12.jpg and cat12.jpg, 12_cat.jpg.
NAME_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        r"(?P<label>[^/.]*[A-Za-z][^/.]*)[.][^/.]+[.]",
        r"(?P<label>[^/]*[A-Za-z])[_ -]*[(]?[0-9]+[)]?[.][^./]+$",
        r"[0-9]+[_ -]+(?P<label>[A-Za-z][^/]*)[.][^./]+$",
    )
]
