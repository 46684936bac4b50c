"""Where the labels of the training images are.

In a table with their ids, or a JSON file like COCO's; else in the names of folders, or of the
images. Folders are taken where a table only says the same.
"""

from collections import Counter
from dataclasses import dataclass

from imagepipe.dataset.label_kinds import divided
from imagepipe.inspection import columns
from imagepipe.inspection.evidence import Coco, Evidence, section
from imagepipe.inspection.images import Part, common_folder, image_key, name_of
from imagepipe.inspection.tables import Table

# Share of the training images that a table must list.
ENOUGH = 0.5


@dataclass
class FoundLabels:
    """The labels: `values` is the section of the dataset file, and `words` says the same.

    `ids` are the keys of the labelled images. Of a table: its id column, and the labels of its
    rows if they are in one column. `choose` is what a human must look at.
    """

    values: dict[str, object]
    classes: list[str]
    words: str
    several: bool = False
    ids: set[str] | None = None
    source: Table | Coco | None = None
    id_column: str = ""
    rows: list[str] | None = None
    choose: str | None = None


def find_labels(evidence: Evidence, train: Part) -> FoundLabels:
    """Return where the labels of the training images are, or a section that is to be filled in."""
    images = train.keys
    tables = [labels_in_table(evidence, table, images) for table in evidence.others()]
    found = [one for one in (*tables, *map(labels_in_coco, evidence.cocos)) if one is not None]
    listed = [(len((one.ids or set()) & images), one) for one in found]
    n, best = max(listed, key=lambda one: one[0], default=(0, None))
    if n < ENOUGH * len(images):
        # One that lists a part of what is said to be the training images, which may be all.
        best = None if train.folder_role else best
    folders = labels_in_folders(train)
    if best is not None and not (folders and folders_say_it(train, best)):
        return best
    return (
        folders
        or labels_in_names(train)
        or FoundLabels(
            {"file": "labels.csv"},
            [],
            "unknown",
            choose="no labels were found: add this table, with the columns id and label",
        )
    )


def labels_in_table(evidence: Evidence, table: Table, images: set[str]) -> FoundLabels | None:
    """Return the labels of a table that lists images, or None."""
    ids = columns.id_column(table, images)
    if ids is None:
        return None
    classes = columns.class_columns(table, ids, evidence.sample)
    if classes:
        values: dict[str, object] = {"name": "columns", **section(table.name, ids)}
        if set(classes) != set(table.header) - {ids}:
            values["columns"] = classes
        several = columns.have_several(table, classes)
        if several:
            values["several"] = True
        words = f"from the columns of {table.name}"
        return FoundLabels(values, sorted(classes), words, several, table.keys(ids), table, ids)
    candidates = columns.label_columns(table, ids, evidence.sample)
    if not candidates:
        return None
    label = candidates[0]
    rows = table.columns[label]
    separator = columns.separator_of(rows)
    values = section(table.name, ids)
    if label != "label":
        values["label_column"] = label
    if separator:
        values["separator"] = separator
    parts = [divided(row, separator) if separator else (row,) for row in set(rows)]
    names = {name for some in parts for name in some}
    choose = None
    if rivals := columns.rivals(table, candidates):
        choose = f"is {label} the column of the labels, or {', '.join(rivals[:3])}?"
    return FoundLabels(
        values,
        sorted(names - {""}),
        f"from {table.name} ({ids} → {label})",
        separator is not None,
        table.keys(ids),
        table,
        ids,
        rows,
        choose,
    )


def labels_in_coco(coco: Coco) -> FoundLabels | None:
    """Return the labels of a JSON file like COCO's, or None if it has none."""
    if not coco.classes:
        return None
    several = any(len(image.classes) > 1 for image in coco.images)
    values: dict[str, object] = {"name": "coco", "file": coco.name}
    if several:
        values["several"] = True
    words = f"from {coco.name}"
    return FoundLabels(values, coco.classes, words, several, coco.ids, coco)


def labels_in_folders(train: Part) -> FoundLabels | None:
    """Return the labels as folders' names, if all images are in such folders."""
    classes = Counter(class_folders(train).values())
    if len(classes) < 2 or "" in classes:
        return None
    words = f"as folders in {name_of(class_folder(train))}"
    return FoundLabels({"name": "folders"}, sorted(classes), words)


def class_folder(train: Part) -> tuple[str, ...]:
    """Return the folder that holds a folder for each class: the innermost around all images."""
    common = common_folder(train.files)
    return common if len(common) > len(train.folder) else train.folder


def class_folders(train: Part) -> dict[str, str]:
    """Return {image's path: name of its class's folder}, "" if it is in none."""
    depth = len(class_folder(train))
    return {file.path: "".join(file.folders[depth : depth + 1]) for file in train.files}


def folders_say_it(train: Part, labels: FoundLabels) -> bool:
    """Return whether the names of the folders are the labels of a table."""
    if not isinstance(labels.source, Table) or labels.rows is None:
        return False
    folder_of = class_folders(train)
    class_of = {image_key(file.name): folder_of[file.path] for file in train.files}
    ids = labels.source.columns[labels.id_column]
    # Of a wide table, the labels may be those of the first rows alone.
    return all(
        class_of.get(image_key(i), label) == label
        for i, label in zip(ids, labels.rows, strict=False)
    )


def labels_in_names(train: Part) -> FoundLabels | None:
    """Return the labels in the images' names, or None."""
    names = ["/".join(train.inside(file)) for file in train.files]
    for pattern in columns.NAME_PATTERNS:
        matches = [pattern.match(name) for name in names]
        classes = Counter(match["label"] for match in matches if match)
        if sum(classes.values()) == len(names) and 2 <= len(classes) <= max(2, len(names) // 3):
            words = f"from the file names, such as {train.files[0].name}"
            return FoundLabels(
                {"name": "file_names", "pattern": pattern.pattern}, sorted(classes), words
            )
    return None
