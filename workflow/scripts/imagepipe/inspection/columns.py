"""What the columns of a table are: ids, labels, classes, groups, parts.

The id column is the one whose values are the images' names. The label column is the one that the
sample submission names, or whose values are the sample's columns or values; else the one with a
name such as "label" and few different values. Columns with other features of an image, or that tell
the label in other words, are left alone.
"""

import re
from collections import Counter
from collections.abc import Sequence

from imagepipe.inspection.images import role_of, words
from imagepipe.inspection.tables import Table

# Share of a column's values that must be images' names.
ID_SHARE = 0.5
ID_WORDS = ("id", "image", "img", "file", "filename", "name", "path")
LABEL_WORDS = (
    "label", "labels", "class", "classname", "classes", "target", "diagnosis", "species", "breed",
    "category", "tag", "tags", "emotion", "dx", "type", "kind", "disease", "digit", "letter", "y",
    "id", "grade", "level",
)  # fmt: skip
# No class has such a name.
SURE_LABEL_WORDS = ("label", "class", "target", "diagnosis", "species", "breed", "category")
GROUP_WORDS = (
    "patient", "subject", "driver", "person", "participant", "user", "group", "lesion", "donor",
    "video", "clip", "sequence", "series", "slide", "individual", "burst", "study",
)  # fmt: skip
SEPARATORS = ("|", ";", " ", ",")
# Names of classes hardly ever have these.
SURE_SEPARATORS = ("|", ";")
SAMPLE_NAME = re.compile(r"subm|sample.?(sub|sol)|^sample\b")


def is_sample_name(name: str) -> bool:
    """Return whether a table's name says that it is a sample submission."""
    return SAMPLE_NAME.search(name.lower()) is not None


def id_column(table: Table, keys: set[str]) -> str | None:
    """Return the column whose values are images' names, or None.

    The images' names are given by their keys. If several columns qualify, it is the one that knows
    more of them, then the one with a name such as "id", then the first.
    """
    best: tuple[tuple[int, bool], str] | None = None
    for column, values in table.columns.items():
        different = set(values)
        if not table.has_all(column) or len(different) < ID_SHARE * len(values):
            continue
        n = len(table.keys(column) & keys)
        score = n, bool(set(words(column)) & set(ID_WORDS))
        if (
            n >= min(ID_SHARE * len(different), ID_SHARE * len(keys))
            and n
            and (best is None or score > best[0])
        ):
            best = score, column
    return best[1] if best else None


def number(value: str) -> float | None:
    """Return a number, which may have a decimal comma, or None."""
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return None


def label_like(table: Table, column: str) -> bool:
    """Return whether a column has few different values, that are no measurements."""
    values = [value for value in table.columns[column] if value]
    different = set(values)
    if len(different) < 2 or len(different) > max(20, len(values) // 2):
        return False
    numbers = [n for value in different if (n := number(value)) is not None]
    return all(n.is_integer() for n in numbers)


def label_columns(table: Table, ids: str, sample: Table | None) -> list[str]:
    """Return the columns that may hold the labels, the likeliest first.

    They are those that the sample submission tells, if it tells any.
    """
    rest = [column for column in table.columns if column != ids]
    told = told_columns(table, rest, sample)
    if told:
        return told
    possible = [
        column
        for column in rest
        if label_like(table, column) and not is_split(table.columns[column])
    ]
    return sorted(possible, key=lambda column: (-name_score(column), place_of_word(column)))


def name_score(column: str) -> int:
    """Return how much a column's name says that it holds the labels, at most 3."""
    named = words(column)
    if set(named) & set(GROUP_WORDS):
        return -1
    if len(named) == 1 and named[0] in LABEL_WORDS:
        return 3
    return 2 if set(named) & set(LABEL_WORDS) and "id" not in named[-1:] else 0


def place_of_word(column: str) -> int:
    """Return the place of a column's only word among the words for labels, or the last one."""
    named = words(column)
    known = len(named) == 1 and named[0] in LABEL_WORDS
    return LABEL_WORDS.index(named[0]) if known else len(LABEL_WORDS)


def rivals(table: Table, candidates: Sequence[str]) -> list[str]:
    """Return the columns that may as well hold the labels as the first of the candidates.

    One that tells the same in other words is none.
    """
    first, *others = candidates
    hinted = is_hinted(first)
    return [
        column
        for column in others
        if (not hinted or name_score(column) >= name_score(first))
        and not say_the_same(table, first, column)
    ]


def say_the_same(table: Table, column: str, other: str) -> bool:
    """Return whether each value of a column stands for one of the other's."""
    values, others = table.columns[column], table.columns[other]
    pairs = set(zip(values, others, strict=False))
    return len(pairs) == len(set(values)) == len(set(others))


def told_columns(table: Table, among: Sequence[str], sample: Table | None) -> list[str]:
    """Return the columns that the sample submission tells, the likeliest first.

    One that has the sample's values goes before one that has its name, if no column has both.
    """
    if sample is None:
        return []
    by_name = [one for one in among if told_by_name(sample, table.columns[one], one)]
    names = names_in(sample)
    by_values = [one for one in among if 2 * len(names & set(table.columns[one])) >= len(names) > 0]
    if both := [one for one in by_name if one in by_values]:
        return both[:1]
    asked = set(sample.header[1:])
    # Where several have values among the sample's columns, the labels have most of them.
    by_name.sort(key=lambda one: (-len(asked & set(table.columns[one])), -name_score(one)))
    return [*by_values[:1], *by_name[:1]]


def told_by_name(sample: Table, values: Sequence[str], column: str) -> bool:
    """Return whether the sample submission has a column of this name, or one for each value."""
    asked = sample.header[1:]
    different = set(values)
    if len(asked) == 1:
        return asked[0].casefold() == column.casefold()
    return len(different) > 1 and len(different & set(asked)) >= 0.8 * len(different)


def names_in(sample: Table) -> set[str]:
    """Return the values, and their words, of a sample submission with one column; no numbers."""
    if len(sample.header) != 2:
        return set()
    values = set(sample.columns[sample.header[1]])
    guesses = values | {part for value in values for part in value.split()}
    return {name for name in guesses if number(name) is None}


def is_hinted(column: str) -> bool:
    """Return whether a column is named as labels are."""
    return bool(set(words(column)) & set(LABEL_WORDS))


def is_split(values: Sequence[str]) -> bool:
    """Return whether all values say train, test or valid, such as "PrivateTest"."""
    different = set(values)
    return 1 < len(different) <= 4 and all(role_of(value) for value in different)


def split_column(table: Table) -> str | None:
    """Return the column that says which part an image is in, or None."""
    return next(
        (
            column
            for column, values in table.columns.items()
            if table.has_all(column) and is_split(values)
        ),
        None,
    )


def split_values(table: Table, column: str) -> dict[str, list[str]]:
    """Return {part: values of the column}, the rarest first."""
    counts = Counter(table.columns[column])
    found: dict[str, list[str]] = {}
    for value in sorted(counts, key=lambda one: (counts[one], one)):
        found.setdefault(role_of(value) or "", []).append(value)
    return found


def class_columns(table: Table, ids: str, sample: Table | None) -> list[str]:
    """Return the columns of 0 and 1 that are classes, or none.

    Beside a column of labels, they are features, such as has_hair.
    """
    binary = [
        column
        for column, values in table.columns.items()
        if column != ids and {number(value) for value in set(values)} <= {0.0, 1.0}
    ]
    if sample is not None and len(sample.header) > 2:
        asked = sample.header[1:]
        return asked if set(asked) <= set(binary) else []
    others = [column for column in table.columns if column != ids]
    if len(binary) < 3 or told_columns(table, others, sample):
        return []
    is_label = (
        column.lower() in SURE_LABEL_WORDS and label_like(table, column) for column in others
    )
    return [] if any(is_label) else binary


def have_several(table: Table, columns: Sequence[str]) -> bool:
    """Return whether a row has several ones, or none."""
    # Of a wide table, some columns have the first rows alone.
    rows = zip(*(table.columns[column] for column in columns), strict=False)
    return any(sum(map(float, row)) != 1 for row in rows)


def separator_of(values: Sequence[str]) -> str | None:
    """Return what separates an image's several labels, or None if each has one.

    There are several where the same words combine freely, in different numbers: "haze primary" and
    "clear primary water", but not "Fat Hen" and "Common wheat".
    """
    different = set(values) - {""}
    if different and all(value[0] == "[" and value[-1] == "]" for value in different):
        return ","
    for separator in SEPARATORS:
        split = [set(value.split(separator)) - {""} for value in different]
        if max(map(len, split), default=1) == 1:
            continue
        if separator in SURE_SEPARATORS:
            return separator
        counts = Counter(word for words in split for word in words)
        combined = sum(n > 1 for n in counts.values())
        if (
            len({len(words) for words in split}) > 1
            and len(counts) <= len(different)
            and 2 * combined >= len(counts)
        ):
            return separator
    return None


def group_column(table: Table, ids: str, labels: Sequence[str] | None) -> str | None:
    """Return the column of the patients, drivers or the like that images belong to, or None.

    One that tells the label in other words is none.
    """
    for column, values in table.columns.items():
        if column == ids or not set(words(column)) & set(GROUP_WORDS) or not table.has_all(column):
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
