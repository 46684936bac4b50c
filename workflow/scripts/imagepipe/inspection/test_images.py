"""Which images are the test: those in a folder, or those that a table lists."""

from imagepipe.inspection import columns
from imagepipe.inspection.evidence import Evidence, Guess, section
from imagepipe.inspection.images import Part, Parts, image_keys
from imagepipe.inspection.label_sources import FoundLabels
from imagepipe.inspection.tables import Table


def find_test(
    found: Guess, evidence: Evidence, parts: Parts, train: Part, labels: FoundLabels
) -> tuple[Part | None, set[str] | None]:
    """Set the keys of the test images in `found`.

    Return their part, and the keys of those that count: None stands for all. The part is `train`
    where they lie with the training images, and None where there are none.
    """
    split = split_by_table(found, labels, apart=parts.test is not None)
    if parts.test is not None:
        return parts.test, test_ids_in_folder(found, evidence, parts.test)
    if split is not None:
        return train, split
    images = train.keys
    sample = evidence.sample
    if sample is not None and columns.id_column(sample, images):
        found.values["test_folder"] = None
        return train, evidence.sample_ids()
    for table in evidence.others():
        ids = columns.id_column(table, images)
        if ids and table is not labels.source and labels.ids is not None:
            listed = table.keys(ids)
            if not listed & labels.ids:
                found.use(table.file)
                found.values |= {"test_folder": None, "test_ids": section(table.name, ids)}
                return train, listed
    for coco in evidence.cocos:
        if not coco.classes and coco.ids & images:
            found.use(coco.file)
            found.values |= {"test_folder": None, "test_ids": {"file": coco.name}}
            return train, coco.ids
    if parts.valid is not None:
        found.choose["test_folder"] = "there are no test images; these stand in for them"
        return parts.valid, None
    found.values["test_folder"] = "test"
    found.choose["test_folder"] = "no test images were found; put those to predict into this folder"
    return None, None


def split_by_table(found: Guess, labels: FoundLabels, *, apart: bool) -> set[str] | None:
    """Read only the training images' rows of the labels, if a column says which these are.

    Return the keys of the test images, if they are in the same folder.
    """
    table = labels.source
    column = columns.split_column(table) if isinstance(table, Table) else None
    if not isinstance(table, Table) or column is None:
        return None
    values = columns.split_values(table, column)
    if "train" not in values or "test" not in values:
        return None
    train, test = values["train"][0], values["test"][0]
    valid = values.get("valid", [""])[0]
    rows = list(zip(table.columns[labels.id_column], table.columns[column], strict=True))
    if valid and not apart:
        found.values["split"] = {
            "name": "fixed",
            **section(table.name, labels.id_column),
            **({} if column == "split" else {"split_column": column}),
            **({} if valid == "valid" else {"valid": valid}),
        }
        labels.ids = image_keys(image for image, part in rows if part in (train, valid))
        found.notes.append(f"{column} in {table.name} says which are for validation ({valid})")
    else:
        labels.values["where"] = {column: train}
        labels.ids = image_keys(image for image, part in rows if part == train)
    if apart:
        return None
    found.values["test_folder"] = None
    found.values["test_ids"] = section(table.name, labels.id_column, where={column: test})
    return image_keys(image for image, part in rows if part == test)


def test_ids_in_folder(found: Guess, evidence: Evidence, test: Part) -> set[str] | None:
    """Let the sample list the test images if their folder has others, too."""
    images, asked = test.keys, evidence.sample_ids()
    if not asked & images:
        # The sample may have the ids of a JSON file like COCO's.
        for coco in evidence.cocos:
            if evidence.sample and coco.ids & images and not coco.classes:
                found.use(coco.file)
                found.values["test_ids"] = {"file": coco.name}
                return coco.ids
        if asked and images:
            found.notes.append("none of the ids in the sample submission is that of a test image")
        return None
    if missing := len(asked - images):
        found.notes.append(f"{missing:,} of {len(asked):,} ids in the sample have no test image")
    if evidence.sample is None or not images - asked:
        return None
    found.values["test_ids"] = section(evidence.sample.name, evidence.sample_id_column)
    return asked
