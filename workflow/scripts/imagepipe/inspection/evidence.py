"""What is known before guessing, and what the guesses are."""

from dataclasses import dataclass, field

from imagepipe.dataset.coco import CocoImage, read_coco
from imagepipe.dataset.test_images import is_usage
from imagepipe.errors import UserError
from imagepipe.inspection import columns
from imagepipe.inspection.images import Part, image_key
from imagepipe.inspection.listing import FoundFile, Listing
from imagepipe.inspection.tables import Table, read_tables

# Bytes. Python's objects take some ten times as many.
LARGEST_JSON = 1 << 27


@dataclass
class Guess:
    """The keys of a dataset file.

    `choose` says what a human must look at, by key. `lines` say what was understood, and `notes`
    what is odd. `used` are the tables that the dataset needs. With `drop_unmatched`, some images
    have no label, or some labels no image.
    """

    values: dict[str, object] = field(default_factory=dict)
    choose: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    used: list[FoundFile] = field(default_factory=list)
    drop_unmatched: bool = False

    def use(self, file: FoundFile) -> None:
        """Enter a table among those that the dataset needs."""
        if file not in self.used:
            self.used.append(file)


@dataclass(frozen=True)
class Coco:
    """A JSON file like COCO's."""

    file: FoundFile
    images: list[CocoImage]

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def ids(self) -> set[str]:
        """The keys of its images."""
        return {image_key(image.file_name) for image in self.images}

    @property
    def classes(self) -> list[str]:
        return sorted({name for image in self.images for name in image.classes})


class Evidence:
    """The tables and JSON files among the files that were found."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.tables = read_tables(listing)
        self.samples = [table for table in self.tables if columns.is_sample_name(table.name)]
        for one in self.samples:
            for name in [name for name in one.columns if is_usage(name, one.columns[name])]:
                one.header.remove(name)
                del one.columns[name]
        self.sample = next(iter(self.samples), None)
        self.sample_id_column = self.sample.header[0] if self.sample else ""
        self.cocos: list[Coco] = []
        for file in listing.files:
            if file.ending != "json":
                continue
            if file.size > LARGEST_JSON:
                listing.notes.append(f"{file.path} was not looked into; it is too large")
                continue
            try:
                self.cocos.append(Coco(file, read_coco(listing.on_disk(file))))
            except UserError:  # some JSON file of another kind
                continue

    def others(self) -> list[Table]:
        """Return the tables that are not sample submissions."""
        return [one for one in self.tables if one not in self.samples]

    def find_sample(self, train: Part, test: Part | None) -> None:
        """Find the sample and its id column.

        Of several, it is the one that knows most images. If no name says what it is, it is a table
        whose ids are all test images, and whose rows are all the same.
        """
        images = test.keys if test else train.keys
        if not self.samples and test is not None:
            self.samples = [table for table in self.tables if is_sample(table, images)][:1]
        ids = [columns.id_column(one, images) or one.header[0] for one in self.samples]
        known = [
            len(one.keys(column) & images) for one, column in zip(self.samples, ids, strict=True)
        ]
        if known:
            best = known.index(max(known))
            self.sample, self.sample_id_column = self.samples[best], ids[best]

    def sample_ids(self) -> set[str]:
        """Return the keys of the images that the sample submission lists."""
        return self.sample.keys(self.sample_id_column) if self.sample else set()


def is_sample(table: Table, images: set[str]) -> bool:
    """Return whether a table lists these images, and says the same of each."""
    ids = columns.id_column(table, images)
    if ids is None or table.keys(ids) != images:
        return False
    rest = [values for column, values in table.columns.items() if column != ids]
    return bool(rest) and all(len(set(values)) == 1 for values in rest)


def section(file: str, ids: str | None, **more: object) -> dict[str, object]:
    """Return a section that names a table and its id column, which is left out where it is "id"."""
    return {"file": file} | ({} if ids == "id" else {"id_column": ids}) | more
