"""From the files of a competition to the keys of its dataset file."""

from collections import Counter
from collections.abc import Sequence

from imagepipe.errors import UserError
from imagepipe.files import is_image
from imagepipe.inspection import columns, images
from imagepipe.inspection.evidence import Evidence, Guess, section
from imagepipe.inspection.forms import add_form
from imagepipe.inspection.images import Part, image_key, name_of
from imagepipe.inspection.label_sources import FoundLabels, class_folder, find_labels
from imagepipe.inspection.listing import FoundFile, Listing
from imagepipe.inspection.pixel_tables import guess_pixels
from imagepipe.inspection.placing import folder_values
from imagepipe.inspection.tables import Table
from imagepipe.inspection.test_images import find_test

# Pixels. Larger images are better shrunk, even if all have one size; the recipe says how far.
LARGEST_OWN_SIZE = 96
LOOKED_AT_SMALL = 5_000


def guess(listing: Listing) -> Guess:
    """Return what the files say of the dataset. Raises `UserError` if they hold no images."""
    found, evidence = Guess(), Evidence(listing)
    files = [file for file in listing.files if is_image(file.name)]
    if files:
        guess_images(found, evidence, files)
    elif any(table.n_pixels for table in evidence.tables):
        add_form(found, evidence, guess_pixels(found, evidence))
        add_files(found, evidence, [])
    else:
        raise UserError(f"{listing.source}: {what_instead(listing)}")
    found.lines += [*found.notes, *listing.notes]
    return found


def what_instead(listing: Listing) -> str:
    """Return what a folder without images holds."""
    if any("ubyte" in file.name for file in listing.files):
        return "holds idx files (…-ubyte), which cannot be read; make images or a CSV file of them"
    endings = Counter(file.ending for file in listing.files)
    most = ", ".join(f"{n:,} .{ending}" for ending, n in endings.most_common(4))
    notes = "; ".join(listing.notes)
    return f"holds no images that can be read, but {most or 'nothing'}" + (notes and f" ({notes})")


def guess_images(found: Guess, evidence: Evidence, files: Sequence[FoundFile]) -> None:
    """Set the keys for images that are files."""
    parts = images.find_parts(files)
    train = parts.train or parts.pool
    if train is None:
        raise UserError(
            f"{evidence.listing.source}: holds test images alone; get the training images, too"
        )
    evidence.find_sample(train, parts.test)
    labels = find_labels(evidence, train)
    test, test_ids = find_test(found, evidence, parts, train, labels)
    chosen = [*train.files, *(test.files if test and test is not train else [])]
    place(found, evidence.listing, train, test, labels, chosen)
    if labels.source is not None:
        found.use(labels.source.file)
    found.values["labels"] = labels.values
    if labels.choose:
        found.choose["labels"] = labels.choose
    describe(found, train, test, test_ids, labels)
    describe_empty(found, labels)
    add_size(found, chosen)
    add_form(found, evidence, labels)
    add_groups(found, evidence, train, labels)
    if test is not None and test is not train:
        add_true_labels(found, evidence, test, labels)
    add_files(found, evidence, chosen)
    found.notes += parts.left_out(train, test)


def place(
    found: Guess,
    listing: Listing,
    train: Part,
    test: Part | None,
    labels: FoundLabels,
    chosen: Sequence[FoundFile],
) -> None:
    """Set the source and the folders."""
    plain = chosen[0].top is None
    if any((file.top is None) != plain for file in chosen):
        top = next(file.top for file in chosen if file.top)
        raise UserError(
            f"{listing.source}: some images are in folders, and some in archives; unpack {top}"
        )
    found.values["source"] = "folder" if plain else "raw_dir"
    folder = class_folder(train) if labels.values.get("name") == "folders" else train.folder
    apart = test if test is not train else None
    if plain:
        found.values["train_folder"] = "/".join(folder) or "."
        if apart is not None:
            found.values["test_folder"] = "/".join(apart.folder) or "."
        return
    train_name, test_name = folder_values(
        (folder, train.files), (apart.folder, apart.files) if apart is not None else None
    )
    found.values["train_folder"] = train_name
    if test_name is not None:
        found.values["test_folder"] = test_name


def describe(
    found: Guess, train: Part, test: Part | None, test_ids: set[str] | None, labels: FoundLabels
) -> None:
    """Say how many images and classes there are."""
    ids = [image_key(file.name) for file in train.files]
    n_test = len(test.files) if test else 0
    if test is not None and test_ids is not None:
        n_test = sum(image_key(file.name) in test_ids for file in test.files)
    if test is train and test_ids is not None:
        ids = [key for key in ids if key not in test_ids]
    unlabelled = 0 if labels.ids is None else sum(key not in labels.ids for key in ids)
    without_image = 0 if labels.ids is None else len(labels.ids - set(ids))
    found.lines.append(
        f"{len(ids) - unlabelled:,} training images in {name_of(train.folder)}, "
        f"{len(labels.classes):,} classes {labels.words}"
        + (", several for an image" if labels.several else "")
    )
    if test is not None:
        found.lines.append(f"{n_test:,} test images in {name_of(test.folder)}")
    if unlabelled or without_image:
        # `labels` leaves out images without label by itself where others lie among them.
        allowed = test is train or "where" in labels.values
        found.drop_unmatched = without_image > 0 or not allowed
        found.lines.append(
            f"{unlabelled:,} images without label and {without_image:,} labels without image, "
            "which are left out"
        )


def describe_empty(found: Guess, labels: FoundLabels) -> None:
    """Say how many rows have no label, which the stage `labels` refuses."""
    empty = sum(not row for row in labels.rows or [])
    if empty and not labels.several:
        found.notes.append(
            f"{empty:,} rows of {labels.values['file']} have no label: fill them in, or remove them"
        )


def add_size(found: Guess, chosen: Sequence[FoundFile]) -> None:
    """Say what the images look like, and set their size if it is the same small one."""
    looks = images.look_at(chosen)
    if is_small(looks) and chosen[0].holder.any_order:  # one of another size would be an error
        looks = images.look_at(chosen, LOOKED_AT_SMALL)
    found.lines.append(looks.words())
    if is_small(looks):
        ((width, height),) = looks.sizes
        found.values["image_size"] = height if height == width else [height, width]


def is_small(looks: images.Looks) -> bool:
    """Return whether the images have one size, and a small one."""
    return len(looks.sizes) == 1 and max(next(iter(looks.sizes))) <= LARGEST_OWN_SIZE


def add_groups(found: Guess, evidence: Evidence, train: Part, labels: FoundLabels) -> None:
    """Set the split by groups, if a table that lists all labelled images has a column of these."""
    if "split" in found.values:
        return
    needed = labels.ids & train.keys if labels.ids is not None else train.keys
    for table in evidence.others():
        ids = columns.id_column(table, needed)
        if ids is None or not needed <= table.keys(ids):
            continue
        rows = labels.rows if table is labels.source else None
        column = columns.group_column(table, ids, rows)
        if column:
            found.use(table.file)
            found.values["split"] = {
                "name": "groups",
                **section(table.name, ids),
                "group_column": column,
            }
            n = len(set(table.columns[column]))
            found.lines.append(
                f"{n:,} groups ({column} in {table.name}), which the split does not divide"
            )
            return


def add_true_labels(found: Guess, evidence: Evidence, test: Part, labels: FoundLabels) -> None:
    """Set the table of the test images' labels, if there is one like that of the training images'.

    It has the same columns, and some of the same classes.
    """
    label = str(labels.values.get("label_column", "label"))
    if not isinstance(labels.source, Table) or labels.rows is None:
        return
    for table in evidence.others():
        ids = columns.id_column(table, test.keys)
        if table is labels.source or ids != labels.id_column or label not in table.columns:
            continue
        values = set(table.columns[label])
        if table.keys(ids) == test.keys and len(values) > 1 and values <= {*labels.rows}:
            found.use(table.file)
            found.values["true_labels"] = table.name
            found.notes.append(f"the test images' own labels are in {table.name}")
            return


def add_files(found: Guess, evidence: Evidence, chosen: Sequence[FoundFile]) -> None:
    """Set the dataset's files: archives, and tables that are in none."""
    listing, tables = evidence.listing, evidence.tables
    names = [file.top for file in chosen if file.top]
    for file in found.used:
        if file.top is None and file.folders:
            found.notes.append(f"copy {file.path} to {listing.raw_dir}, where the tables must be")
        names.append(file.top or file.name)
    names = [listing.bundle] if listing.bundle else list(dict.fromkeys(names))
    whole = [part for name in names for part in listing.parts.get(name, [name])]
    found.values["files"] = [{"name": name} for name in whole]
    encodings = {table.encoding for table in tables if table.file in found.used} - {"utf-8"}
    if encodings:
        found.values["encoding"] = max(encodings)
