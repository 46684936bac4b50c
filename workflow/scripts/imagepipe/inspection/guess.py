"""From files to the keys of a dataset file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from imagepipe.errors import UserError
from imagepipe.inspection import columns, images, tables
from imagepipe.inspection.images import Part, image_key
from imagepipe.inspection.listing import FoundFile, Listing
from imagepipe.inspection.placing import folder_value
from imagepipe.inspection.tables import Table

# Larger images of one size are better shrunk, which the recipe decides.
LARGEST_OWN_SIZE = 96
LARGEST_JSON = 1 << 27
DEFAULT_METRICS = {
    "label": ("accuracy", "f1_micro, f1_macro, quadratic_weighted_kappa, ..."),
    "probabilities": ("log_loss", "mean_column_roc_auc, ..."),
    "probability": ("roc_auc", "log_loss, ..."),
    "several_labels": ("f1_samples", "f1_micro, f1_macro, f2, ..."),
}


@dataclass
class Guess:
    """The keys of a dataset file, what a human must look at, and what was understood, in lines."""

    values: dict[str, object] = field(default_factory=dict)
    choose: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    drop: bool = False


@dataclass
class Coco:
    """A JSON file like COCO's: the images' names, and the categories of each."""

    file: FoundFile
    names: list[str]
    classes: int
    several: bool


@dataclass
class FoundLabels:
    """Where the labels are.

    `values` is the section of the dataset file; `classes` are the names, and `rows` the labels in
    the order of the table, if it is one. `ids` are the keys of the labelled images.
    """

    values: dict[str, object]
    classes: list[str]
    words: str
    ids: set[str] | None = None
    table: Table | None = None
    ids_column: str | None = None
    rows: list[str] | None = None
    several: bool = False
    choose: str | None = None
    n_classes: int | None = None


def guess(listing: Listing) -> Guess:
    """Return what the files say of the dataset."""
    return Guesser(listing).guess()


class Guesser:
    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.found = Guess()
        self.tables = read_tables(listing.files)
        self.sample = next((one for one in self.tables if columns.is_sample_name(one.name)), None)
        self.used: list[FoundFile] = []
        self.found.lines += listing.notes

    def guess(self) -> Guess:
        found = [file for file in self.listing.files if file.ending in images.ENDINGS]
        if found:
            self.guess_images(found)
        elif any(table.pixel_columns or table.pixels for table in self.tables):
            self.guess_pixels()
        else:
            raise UserError(f"{self.listing.raw_dir}: {self.nothing()}")
        return self.found

    def nothing(self) -> str:
        if any("ubyte" in file.name for file in self.listing.files):
            return "holds idx files (…-ubyte), which are not read; turn them into images or a CSV"
        endings = Counter(file.ending for file in self.listing.files)
        most = ", ".join(f".{ending} ({n:,})" for ending, n in endings.most_common(4))
        return f"holds no images that can be read (found: {most or 'nothing'})"

    # Image files

    def guess_images(self, found: list[FoundFile]) -> None:
        parts = images.find_parts(found)
        train = parts.train or parts.pool
        if train is None:
            raise UserError(
                f"{self.listing.raw_dir}: holds test images alone; get the training images, too"
            )
        cocos = [one for file in self.listing.files if (one := read_coco(file))]
        if self.sample is None and parts.test is not None:
            self.sample = self.unnamed_sample({image_key(one.name) for one in parts.test.files})
        labels = self.find_labels(train, cocos)
        test = self.find_test(parts, train, labels, cocos)
        chosen = [*train.files, *(test.files if test and test is not train else [])]
        self.place(train, test, chosen)
        self.values["labels"] = labels.values
        if labels.choose:
            self.found.choose["labels"] = labels.choose
        self.describe(train, test, labels, chosen)
        self.found.lines += parts.notes
        self.add_form(labels)
        self.add_groups(train, labels)
        self.add_files(chosen)

    @property
    def values(self) -> dict[str, object]:
        return self.found.values

    def unnamed_sample(self, keys: set[str]) -> Table | None:
        """Return the table that has the test images' ids, and the same in every row otherwise."""
        for table in self.tables:
            ids = columns.id_column(table, keys)
            if ids is None or ids[1] < 0.9 * len(keys):
                continue
            rest = [values for column, values in table.columns.items() if column != ids[0]]
            if rest and table.header[0] == ids[0] and all(len(set(one)) == 1 for one in rest):
                return table
        return None

    def find_labels(self, train: Part, cocos: Sequence[Coco]) -> FoundLabels:
        """Return where the labels of the training images are."""
        keys = {image_key(file.name) for file in train.files}
        in_folders = self.labels_in_folders(train)
        best: tuple[int, FoundLabels] | None = None
        for table in self.tables:
            if table is self.sample or (ids := columns.id_column(table, keys)) is None:
                continue
            labels = self.labels_in_table(table, ids[0])
            if labels is not None and (best is None or ids[1] > best[0]):
                best = ids[1], labels
        for coco in cocos:
            matched = len({image_key(name) for name in coco.names} & keys)
            if coco.classes and 2 * matched > len(keys) and (best is None or matched > best[0]):
                best = (
                    matched,
                    FoundLabels(
                        {"name": "coco", "file": coco.file.name}
                        | ({"several": True} if coco.several else {}),
                        [],
                        f"from {coco.file.name}",
                        several=coco.several,
                        n_classes=coco.classes,
                    ),
                )
        if best is not None and (in_folders is None or not self.folders_say_it(train, best[1])):
            labels = best[1]
            if labels.table is not None:
                self.use(labels.table.file)
            for coco in cocos:
                if coco.file.name == labels.values.get("file"):
                    self.use(coco.file)
            return labels
        if in_folders is not None:
            return in_folders
        if (in_names := self.labels_in_names(train)) is not None:
            return in_names
        return FoundLabels(
            {"file": "labels.csv", "id_column": "id", "label_column": "label"},
            [],
            "from a table that is still to be written",
            choose="no labels were found: add a table of them, or folders named after the classes",
        )

    def labels_in_folders(self, train: Part) -> FoundLabels | None:
        """Return labels as folders' names, if all images are in such folders."""
        for folder in (train.folder, images.common_folder(train.files)):
            inside = [file.folders[len(folder) :] for file in train.files]
            classes = Counter(one[0] for one in inside if one)
            if len(classes) > 1 and all(inside):
                return FoundLabels(
                    {"name": "folders"}, sorted(classes), f"as folders in {name_of(folder)}"
                )
        return None

    def folders_say_it(self, train: Part, labels: FoundLabels) -> bool:
        """Return whether the folders' names are the labels that a table has, too."""
        if labels.table is None or labels.ids_column is None or labels.rows is None:
            return False
        folder = images.common_folder(train.files)
        folder = folder if len(folder) > len(train.folder) else train.folder
        class_of = {
            image_key(file.name): file.folders[len(folder)]
            for file in train.files
            if len(file.folders) > len(folder)
        }
        ids = labels.table.columns[labels.ids_column]
        pairs = {(class_of.get(image_key(i)), label) for i, label in zip(ids, labels.rows)}
        return all(a == b for a, b in pairs if a is not None)

    def labels_in_table(self, table: Table, ids: str) -> FoundLabels | None:
        """Return the labels in a table whose ids are images, or None if it has none."""
        found: dict[str, object] = {"file": table.name}
        if ids != "id":
            found["id_column"] = ids
        keys = {image_key(value) for value in table.columns[ids]}
        one_hot = columns.class_columns(table, ids, self.sample)
        if one_hot:
            several = columns.have_several(table, one_hot)
            found = {"name": "columns", **found}
            if set(one_hot) != set(table.header) - {ids}:
                found["columns"] = one_hot
            if several:
                found["several"] = True
            return FoundLabels(
                found,
                sorted(one_hot),
                f"from the columns of {table.name}",
                keys,
                table,
                ids,
                several=several,
            )
        candidates = columns.label_columns(table, ids, self.sample)
        if not candidates:
            return None
        label = candidates[0]
        rows = table.columns[label]
        separator = columns.separator_of(rows)
        if label != "label":
            found["label_column"] = label
        if separator:
            found["separator"] = separator
        classes = {
            part for row in set(rows) for part in (row.split(separator) if separator else [row])
        }
        choose = None
        if len(candidates) > 1 and not self.is_sure(label):
            choose = f"the column of the labels; others are {', '.join(candidates[1:4])}"
        return FoundLabels(
            found,
            sorted(classes - {""}),
            f"from {table.name} ({ids} → {label})",
            keys,
            table,
            ids,
            rows,
            separator is not None,
            choose,
        )

    def is_sure(self, label: str) -> bool:
        named = columns.words(label)
        return bool(set(named) & set(columns.LABEL_WORDS))

    def labels_in_names(self, train: Part) -> FoundLabels | None:
        """Return labels in the images' names, or None."""
        names = ["/".join(train.inside(file)) for file in train.files]
        for pattern in columns.NAME_PATTERNS:
            matches = [pattern.match(name) for name in names]
            found = Counter(match["label"] for match in matches if match)
            if sum(found.values()) == len(names) and 2 <= len(found) <= max(2, len(names) // 3):
                return FoundLabels(
                    {"name": "file_names", "pattern": pattern.pattern},
                    sorted(found),
                    f"from the file names, such as {train.files[0].name}",
                )
        return None

    # The test images

    def find_test(
        self, parts: images.Parts, train: Part, labels: FoundLabels, cocos: Sequence[Coco]
    ) -> Part | None:
        """Set the keys of the test images, and return their part, or None if there are none."""
        split = columns.split_column(labels.table) if labels.table else None
        values = columns.split_values(labels.table, split) if labels.table and split else {}
        if labels.table and split and values.get("train") and values.get("test"):
            labels.values["where"] = {split: values["train"][0]}
            ids = labels.table.columns[labels.ids_column or ""]
            labels.ids = {
                image_key(i)
                for i, part in zip(ids, labels.table.columns[split], strict=True)
                if part == values["train"][0]
            }
            if parts.test is None:
                self.values["test_folder"] = None
                self.values["test_ids"] = {
                    "file": labels.table.name,
                    **({"id_column": labels.ids_column} if labels.ids_column != "id" else {}),
                    "where": {split: values["test"][0]},
                }
                return train
        if parts.test is not None:
            self.test_ids_in(parts.test)
            return parts.test
        keys = {image_key(file.name) for file in train.files}
        if self.sample is not None and columns.id_column(self.sample, keys):
            self.values["test_folder"] = None
            return train
        for table in self.tables:
            ids = columns.id_column(table, keys)
            if ids and table is not labels.table and role_is_test(table, ids[0], labels):
                self.use(table.file)
                self.values["test_folder"] = None
                self.values["test_ids"] = {"file": table.name} | (
                    {"id_column": ids[0]} if ids[0] != "id" else {}
                )
                return train
        for coco in cocos:
            if not coco.classes and {image_key(name) for name in coco.names} & keys:
                self.use(coco.file)
                self.values["test_folder"] = None
                self.values["test_ids"] = {"file": coco.file.name}
                return train
        if parts.valid is not None:
            self.found.choose["test_folder"] = (
                "there is no test folder; these images are predicted instead"
            )
            valid, parts.valid = parts.valid, None
            return valid
        self.values["test_folder"] = "test"
        self.found.choose["test_folder"] = (
            "no test images were found; put those to predict into this folder"
        )
        return None

    def test_ids_in(self, test: Part) -> None:
        """Say which of the test folder's images count, if the sample lists fewer."""
        if self.sample is None:
            return
        keys = Counter(image_key(file.name) for file in test.files)
        asked = {image_key(value) for value in self.sample.columns[self.sample.header[0]]}
        if asked < keys.keys():
            self.values["test_ids"] = {
                "file": self.sample.name,
                **({"id_column": self.sample.header[0]} if self.sample.header[0] != "id" else {}),
            }
        missing = len(asked - keys.keys())
        if missing:
            self.found.lines.append(
                f"{missing:,} of the {len(asked):,} ids in {self.sample.name} have no test image"
            )

    # The other keys

    def place(self, train: Part, test: Part | None, chosen: Sequence[FoundFile]) -> None:
        """Set the source and the folders."""
        plain = {file.top is None for file in chosen}
        if len(plain) > 1:
            top = next(file.top for file in chosen if file.top)
            raise UserError(
                f"{self.listing.raw_dir}: some images are in folders and some in archives; "
                f"unpack {top}"
            )
        self.values["source"] = "folder" if plain == {True} else "raw_dir"
        folder = train.folder
        if self.values.get("labels", {}) == {"name": "folders"}:
            folder = images.common_folder(train.files)
        apart = test if test is not train else None
        self.values["train_folder"] = folder_value(folder, chosen, plain == {True})
        if apart is not None:
            self.values["test_folder"] = folder_value(apart.folder, chosen, plain == {True})

    def describe(
        self, train: Part, test: Part | None, labels: FoundLabels, chosen: Sequence[FoundFile]
    ) -> None:
        """Say how many images there are, and set their size if it is one."""
        keys = [image_key(file.name) for file in train.files]
        n_test = len(test.files) if test else 0
        n_train = len(keys)
        if test is train:
            asked = self.asked_ids()
            n_test = sum(key in asked for key in keys) if asked else 0
            n_train = sum(key not in asked for key in keys)
            keys = [key for key in keys if key not in asked]
        n_classes = labels.n_classes or len(labels.classes)
        lines = self.found.lines
        lines.append(
            f"{n_train:,} training images in {name_of(train.folder)}, {n_classes:,} classes "
            f"{labels.words}" + (", several for an image" if labels.several else "")
        )
        if labels.ids is not None:
            without = sum(key not in labels.ids for key in keys)
            extra = len(labels.ids - set(keys))
            if without or extra:
                self.found.drop = True
                lines.append(
                    f"{without:,} training images have no label, and {extra:,} labels no image: "
                    "on_bad_image=drop leaves them out"
                )
        if test is not None:
            lines.append(f"{n_test:,} test images in {name_of(test.folder)}")
        looks = images.look_at(chosen)
        lines.append(looks_in_words(looks))
        if len(looks.sizes) == 1 and not looks.bad:
            ((width, height),) = looks.sizes
            if max(width, height) <= LARGEST_OWN_SIZE:
                self.values["image_size"] = height if height == width else [height, width]

    def asked_ids(self) -> set[str]:
        """Return the keys of the test images that a table lists."""
        section = self.values.get("test_ids")
        if isinstance(section, dict):
            for table in self.tables:
                if table.name == section["file"]:
                    where = section.get("where", {})
                    ids = table.columns[section.get("id_column", "id")]
                    rows = zip(ids, *(table.columns[column] for column in where), strict=True)
                    return {image_key(row[0]) for row in rows if list(row[1:]) == [*where.values()]}
        if self.sample is None:
            return set()
        return {image_key(value) for value in self.sample.columns[self.sample.header[0]]}

    def add_form(self, labels: FoundLabels) -> None:
        """Set the form of the submission and the metric."""
        name = "several_labels" if labels.several else "label"
        if self.sample is None:
            return
        self.use(self.sample.file)
        self.values["sample_submission"] = self.sample.name
        header = self.sample.header
        values = self.sample.columns[header[1]] if len(header) > 1 else []
        words = "the label"
        if len(header) > 2:
            name, words = "probabilities", f"a probability for each of {len(header) - 1:,} classes"
            unknown = set(header[1:]) - set(labels.classes)
            if labels.classes and unknown:
                words += f", {len(unknown):,} of which have no training images"
        elif labels.several:
            words = "all labels of an image in one column"
        elif len(labels.classes) == 2 and all(map(columns.is_number, values)):
            name, words = "probability", "one probability"
            self.add_positive(labels.classes, header[1], values)
        elif k := top_k(values, labels.classes):
            name, words = "top_k", f"the {k} likeliest labels"
            DEFAULT_METRICS["top_k"] = (f"map_at_{k}", f"top_{k}_error, ...")
        self.found.lines.append(
            f"the submission, as {self.sample.name}: {words} ({', '.join(header[:2])}"
            + (", …)" if len(header) > 2 else ")")
        )
        metric, others = DEFAULT_METRICS[name]
        self.values["metric"] = metric
        self.found.choose["metric"] = f"the competition's page says which; others: {others}"

    def add_positive(self, classes: list[str], column: str, values: Sequence[str]) -> None:
        """Set the class whose probability is asked for, if the sample does not tell."""
        known = [one for one in classes if one.casefold() in ("1", "1.0", "true", "yes")]
        named = [one for one in classes if one.casefold() == column.casefold()]
        positive = (known + named + sorted(classes)[1:])[0]
        if len(set(values)) == 1 and float(values[0]).is_integer():
            self.values["submission"] = {"name": "probability", "positive": positive}
            self.found.choose["submission"] = (
                f"{values[0]} in every row of the sample can also stand for {{name: label}}"
            )
        elif not known:
            self.values["submission"] = {"name": "probability", "positive": positive}
            if not named:
                other = next(one for one in classes if one != positive)
                self.found.choose["submission"] = f"the probability of {positive}, or of {other}?"

    def add_groups(self, train: Part, labels: FoundLabels) -> None:
        """Set the split by groups, if a table has a column of these."""
        keys = {image_key(file.name) for file in train.files}
        for table in self.tables:
            ids = columns.id_column(table, keys) if table is not self.sample else None
            if ids is None or (labels.ids is None and ids[1] < 0.9 * len(keys)):
                continue
            if labels.ids is not None and not labels.ids <= {
                image_key(value) for value in table.columns[ids[0]]
            }:
                continue
            column = columns.group_column(
                table, ids[0], labels.rows if table is labels.table else None
            )
            if column:
                self.use(table.file)
                self.values["split"] = {
                    "name": "groups",
                    "file": table.name,
                    **({"id_column": ids[0]} if ids[0] != "id" else {}),
                    "group_column": column,
                }
                n = len(set(table.columns[column]))
                self.found.lines.append(
                    f"{n:,} groups ({column} in {table.name}), none of which is divided between "
                    "training and validation"
                )
                return

    def use(self, file: FoundFile) -> None:
        """Enter a table among the dataset's files."""
        if file not in self.used:
            self.used.append(file)

    def add_files(self, chosen: Sequence[FoundFile]) -> None:
        """Set the dataset's files: archives and tables."""
        names = [file.top for file in chosen if file.top]
        inside = {str(self.values.get(key)) for key in ("train_folder", "test_folder")}
        for file in self.used:
            if file.top is None and file.folders and "/".join(file.folders) not in inside:
                self.found.lines.append(
                    f"{file.path} must lie directly in {self.listing.raw_dir}: copy it there"
                )
            if file.top or not file.folders:
                names.append(file.top or file.name)
        if self.listing.bundle:
            names = [self.listing.bundle]
        self.values["files"] = [{"name": name} for name in dict.fromkeys(names)]
        encodings = {table.encoding for table in self.tables if table.file in self.used}
        if encodings - {"utf-8"}:
            self.values["encoding"] = max(encodings)

    # Pixels in tables

    def guess_pixels(self) -> None:
        found = [table for table in self.tables if table.pixel_columns or table.pixels]
        candidates = [
            (table, labels[0])
            for table in found
            if (labels := columns.label_columns(table, "", self.sample))
            and not columns.is_sample_name(table.name)
        ]
        train, label = max(
            candidates,
            key=lambda one: (images.role_of(one[0].name) == "train", one[0].n_rows),
            default=(None, ""),
        )
        if train is None:
            raise UserError(
                f"{found[0].file.path}: has pixels, but no table has a column of labels beside them"
            )
        pixels: dict[str, object] = {"train": train.name}
        labels: dict[str, object] = {"file": train.name, "id_column": None}
        others = [one for one in found if one is not train]
        test = next((one for one in others if images.role_of(one.name) == "test"), None)
        test = test or next(iter(others), None)
        split = columns.split_column(train)
        rows = train.columns[label]
        n_test = test.n_rows if test else 0
        pixels["test"] = test.name if test else "test.csv"
        if train.pixels:
            pixels["column"] = train.pixels
        if "id" in train.columns and test and "id" in test.columns:
            pixels["id_column"] = labels["id_column"] = "id"
        if split and test is None:
            values = columns.split_values(train, split)
            parts = {
                "train": values["train"][0],
                "test": values.get("test", values.get("valid"))[0],
            }
            pixels["test"] = train.name
            pixels["train_where"] = {split: parts["train"]}
            pixels["test_where"] = {split: parts["test"]}
            labels["where"] = {split: parts["train"]}
            counts = Counter(train.columns[split])
            n_test = counts[parts["test"]]
            rows = [row for row, part in zip(rows, train.columns[split]) if part == parts["train"]]
            if len(counts) > 2:
                self.found.choose["pixels"] = (
                    f"which {split} is the test: {', '.join(sorted(counts))}"
                )
        elif test is None:
            self.found.choose["pixels"] = "no table of test images was found"
        if label != "label":
            labels["label_column"] = label
        n_pixels = train.pixel_columns or 0
        if train.pixels:
            with train.file.open() as content:
                n_pixels = tables.count_pixels(content, train)
        side = round(n_pixels**0.5)
        self.values["source"] = "raw_dir"
        self.values["archive_format"] = "pixels"
        self.values["pixels"] = pixels
        if side * side == n_pixels:
            self.values["image_size"] = side
        else:
            self.values["image_size"] = [1, n_pixels]
            self.found.choose["image_size"] = f"{n_pixels} pixels are no square"
        self.values["labels"] = labels
        for table in (train, test):
            if table is not None:
                self.use(table.file)
        classes = sorted(set(rows))
        self.found.lines += [
            f"{len(rows):,} training images in the rows of {train.name}, {len(classes):,} classes "
            f"in the column {label}",
            f"{n_test:,} test images in the rows of {pixels['test']}",
            f"{side}×{side} pixels" if side * side == n_pixels else f"{n_pixels:,} pixels",
        ]
        self.add_form(FoundLabels(labels, classes, ""))
        self.add_files([])


def read_tables(files: Sequence[FoundFile]) -> list[Table]:
    """Return the CSV files, by name; those directly in the folder first."""
    found = [file for file in files if file.ending in tables.ENDINGS]
    found.sort(key=lambda file: (len(file.folders), file.name))
    return [table for file in found if (table := tables.read_table(file)) is not None]


def read_coco(file: FoundFile) -> Coco | None:
    """Return a JSON file like COCO's, or None if it is another one."""
    if file.ending != "json" or file.size > LARGEST_JSON:
        return None
    try:
        with file.open() as content:
            found = json.load(content)
        names = [str(one["file_name"]) for one in found["images"]]
        categories: dict[object, set[object]] = {}
        for one in found.get("annotations", []):
            categories.setdefault(one["image_id"], set()).add(one["category_id"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    classes = len(set().union(*categories.values())) if categories else 0
    return Coco(file, names, classes, any(len(one) > 1 for one in categories.values()))


def role_is_test(table: Table, ids: str, labels: FoundLabels) -> bool:
    """Return whether a table lists other images than those with labels."""
    keys = {image_key(value) for value in table.columns[ids]}
    return labels.ids is not None and not keys & labels.ids


def top_k(values: Sequence[str], classes: Sequence[str]) -> int | None:
    """Return how many labels a row of the sample has, if it has several."""
    known = set(classes)
    if set(values) <= known:
        return None
    lengths = {len(value.split()) for value in values}
    tokens = {part for value in values for part in value.split()}
    return max(lengths) if max(lengths, default=0) > 1 and tokens & known else None


def name_of(folder: Sequence[str]) -> str:
    """Return a folder's path for a line."""
    return f"{'/'.join(folder)}/" if folder else "the folder itself"


def looks_in_words(looks: images.Looks) -> str:
    formats = ", ".join(name for name, _ in looks.formats.most_common())
    sizes = sorted(looks.sizes, key=lambda one: (one[0] * one[1], one))
    first, last = (f"{width}×{height}" for width, height in (sizes[0], sizes[-1]))
    words = (
        f"{formats}, {first}"
        if len(sizes) == 1
        else (f"{formats}, {len(sizes):,} sizes from {first} to {last}")
    )
    words += f" (width × height, of {looks.n:,} images looked at)"
    return words + (
        f"; {len(looks.bad):,} cannot be read, such as {looks.bad[0]}" if looks.bad else ""
    )
