"""Images as rows of tables: which tables and rows are for training, and which are the test."""

from collections import Counter
from math import isqrt

from imagepipe.errors import UserError
from imagepipe.inspection import columns
from imagepipe.inspection.evidence import Evidence, Guess
from imagepipe.inspection.images import role_of, words
from imagepipe.inspection.label_sources import FoundLabels
from imagepipe.inspection.tables import Table


def guess_pixels(found: Guess, evidence: Evidence) -> FoundLabels:
    """Set the keys of the images in `found`, and return their labels."""
    tables = [table for table in evidence.tables if table.n_pixels]
    labelled = [
        (table, candidates[0])
        for table in tables
        if (candidates := columns.label_columns(table, "", evidence.sample))
    ]
    if not labelled:
        raise UserError(f"{tables[0].file.path}: has pixels, but no column of labels beside them")
    train, label = max(labelled, key=lambda one: (role_of(one[0].name) == "train", one[0].n_rows))
    rest = [table for table in tables if table is not train]
    test = max(rest, key=lambda table: role_of(table.name) == "test", default=None)
    pixels: dict[str, object] = {"train": train.name, "test": test.name if test else "test.csv"}
    labels: dict[str, object] = {"file": train.name, "id_column": None}
    if label != "label":
        labels["label_column"] = label
    if train.pixels:
        pixels["column"] = train.pixels
    of_train, of_test = pixel_ids(train), pixel_ids(test or train)
    if of_train and of_test:
        pixels["id_column"] = labels["id_column"] = of_train
    if test and of_test and of_test != of_train:
        pixels["test_id_column"] = of_test
    rows = train.columns[label]
    n_test = test.n_rows if test else 0
    split = columns.split_column(train)
    parts = columns.split_values(train, split) if split else {}
    if split and test is None and len(parts) > 1 and "train" in parts:
        train_value = parts["train"][0]
        test_value = (parts.get("test") or parts["valid"])[0]
        pixels["test"] = train.name
        pixels["train_where"] = labels["where"] = {split: train_value}
        pixels["test_where"] = {split: test_value}
        pairs = zip(rows, train.columns[split], strict=True)
        rows = [row for row, value in pairs if value == train_value]
        counts = Counter(train.columns[split])
        n_test = counts[test_value]
        if len(counts) > 2:
            others = " or ".join(sorted(set(counts) - {train_value, test_value}))
            found.choose["pixels"] = f"the test is {test_value}; or is it {others}?"
    elif test is None:
        found.choose["pixels"] = "no table of test images was found: add it, and its name here"
    if test and label in test.columns and set(test.columns[label]) <= set(train.columns[label]):
        found.values["true_labels"] = test.name
        found.notes.append(f"the test images' own labels are in {test.name}")
    for table in (train, test):
        if table is not None:
            found.use(table.file)
    classes = sorted(set(rows))
    found.values |= {"source": "raw_dir", "archive_format": "pixels", "pixels": pixels}
    found.lines += [
        f"{len(rows):,} training images in the rows of {train.name}, {len(classes):,} classes "
        f"in the column {label}",
        f"{n_test:,} test images in the rows of {pixels['test']}",
    ]
    found.values |= {"image_size": size_of(found, train), "labels": labels}
    return FoundLabels(labels, classes, "", rows=rows)


def pixel_ids(table: Table) -> str | None:
    """Return the column that names the images, with another value in each row, or None."""
    for column, values in table.columns.items():
        named = set(words(column)) & set(columns.ID_WORDS)
        if named and len(set(values)) == len(values):
            return column
    return None


def size_of(found: Guess, table: Table) -> object:
    """Return the height and width of the images, which are squares unless a human says so."""
    for channels in (1, 3):  # grey, and red, green and blue
        side = isqrt(table.n_pixels // channels)
        if side * side * channels == table.n_pixels:
            found.lines.append(f"{side}×{side} pixels, {'grey' if channels == 1 else 'in color'}")
            return side
    found.choose["image_size"] = f"the height and width of {table.n_pixels:,} pixels"
    return [1, table.n_pixels]
