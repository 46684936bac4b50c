"""The options of a dataset file: where a competition's files come from, and how to read them."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, Tag, WithJsonSchema, model_validator

from imagepipe.config.options import Options, kind

FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Checksum = Annotated[
    str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64})$")
]
Mean = Annotated[float, Field(ge=0, le=1)]
Std = Annotated[float, Field(gt=0, le=1)]
# Some rows of a table: the value that each of some columns must have.
Where = dict[str, str]


class SourceFile(Options):
    """A file that the source offers."""

    name: FileName
    """The file's name."""
    url: str | None = None
    """Its http or https address."""
    checksum: Checksum | None = None
    """"md5:", "sha1:" or "sha256:", then the hexadecimal hash. Enforced on downloads; for files in
    raw_dir, a mismatch is a warning. Without one, a download must match the hash of the first,
    kept in data/DATASET/first_use.sha256."""
    bytes: Annotated[int | None, Field(ge=0)] = None
    """Its size in bytes, checked like the checksum."""


class Source(Options):
    """A dataset's files and their origin, for the stage that fetches them."""

    source: Literal["generated", "url", "kaggle", "raw_dir", "folder"]
    """Where the files come from if raw_dir is null: generated (drawn by this project), url
    (each file from its own url), kaggle (downloaded with the user's account), raw_dir (only the
    user's own), or folder (only the user's own, as image files in train_folder and test_folder
    beside the tables)."""
    competition: Annotated[str | None, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_-]*$")] = None
    """With source kaggle, the competition's name as in the address of its page."""
    files: list[SourceFile] = []
    """The source's files. Archives (.7z, .zip, .tar.gz) are unpacked. With source folder, there may
    be none."""
    bundle: str | None = None
    """The name of a .zip file in raw_dir that may hold all of the files."""
    train_folder: str = "train"
    """The labelled images' folder: its name, or the last parts of its path, such as jpeg/train. The
    outermost folder that is train_folder or test_folder decides; the archive's own name counts as
    a folder around its files. "." stands for everything outside test_folder."""
    test_folder: str | None = "test"
    """The test images' folder, found the same way. null: they lie in train_folder, and test_ids or
    the sample submission lists them."""

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        if not self.files and self.source != "folder":
            raise ValueError("files must list the archives and tables")
        return self


class PixelTables(Options):
    """Images as rows of CSV files, with a column for each pixel, or all pixels in one column."""

    train: FileName
    """The table of the labelled images."""
    test: FileName
    """The table of the test images; it may be the same."""
    column: str | None = None
    """The column that holds all pixels of an image, separated by spaces. null: each pixel has a
    column, pixel0, pixel1 and so on, row by row."""
    id_column: str | None = None
    """The column of the images' ids; null numbers the rows from 1."""
    test_id_column: str | None = None
    """The column of the test images' ids if that is another one; null: as `id_column`."""
    train_where: Where = {}
    """Read only the rows of `train` with these values, such as {Usage: Training}."""
    test_where: Where = {}
    """Read only the rows of `test` with these values."""


ArchiveFormat = Literal["images", "cifar_python", "pixels"]


def height_and_width(size: object) -> list[int]:
    """Return [height, width] in pixels from these two, or from one number for both."""
    both = [size, size] if isinstance(size, int) else size
    if isinstance(both, list) and len(both) == 2:
        pixels = [one for one in both if isinstance(one, int) and one is not True and one >= 1]
        if len(pixels) == 2:
            return pixels
    raise ValueError(f"is {size!r}, but must be a number of pixels, or [height, width]")


ImageSize = Annotated[
    list[int],
    BeforeValidator(height_and_width),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1},
                    "minItems": 2,
                    "maxItems": 2,
                },
            ]
        }
    ),
]


class Contents(Options):
    """The layout of a dataset's files, for the stages that read images and tables from them.

    Stages leave a key that they do not need at its default.
    """

    source: str
    files: list[SourceFile]
    archive_format: ArchiveFormat = "images"
    image_size: ImageSize | None = None
    train_folder: str = "train"
    test_folder: str | None = "test"
    pixels: PixelTables | None = None
    encoding: str = "utf-8"
    class_folders: bool = False


class LabelTable(Options):
    """A CSV file with a row for each image and a column of labels."""

    name: Literal["table"] = "table"
    file: FileName
    """Its name, among the files or in an archive."""
    id_column: str | None = "id"
    """The column with the image's file name, with or without its path and ending. null numbers the
    rows from 1."""
    label_column: str = "label"
    """The column with the class's name."""
    separator: str | None = None
    """What separates the classes of an image that may have several; null: each image has one."""
    where: Where = {}
    """Read only the rows with these values, such as {split: train}."""


class LabelColumns(Options):
    """A CSV file with a row for each image and a column of 0 and 1 for each class."""

    name: Literal["columns"] = "columns"
    file: FileName
    """Its name, among the files or in an archive."""
    id_column: str | None = "id"
    """The column with the image's file name, with or without its path and ending. null numbers the
    rows from 1."""
    columns: list[str] | None = None
    """The classes' columns; null: all except the ids'."""
    several: bool = False
    """Whether an image may have several classes, or none."""
    where: Where = {}
    """Read only the rows with these values, such as {split: train}."""


class LabelFolders(Options):
    """A folder for each class, directly in train_folder."""

    name: Literal["folders"] = "folders"


class LabelFileNames(Options):
    """The class is in the image's file name."""

    name: Literal["file_names"] = "file_names"
    pattern: str
    """A regular expression with a group "label", such as (?P<label>[a-z]+)[.]. It must match the
    start of the image's path in train_folder."""


class LabelCoco(Options):
    """A JSON file like COCO's, with the lists images, annotations and categories."""

    name: Literal["coco"] = "coco"
    file: FileName
    """Its name, among the files or in an archive."""
    several: bool = False
    """Whether an image may have several classes, or none."""


Labels = Annotated[
    Annotated[LabelTable, Tag("table")]
    | Annotated[LabelColumns, Tag("columns")]
    | Annotated[LabelFolders, Tag("folders")]
    | Annotated[LabelFileNames, Tag("file_names")]
    | Annotated[LabelCoco, Tag("coco")],
    kind("table"),
]


def has_several(labels: Labels) -> bool:
    """Return whether an image may have several classes."""
    if isinstance(labels, LabelTable):
        return labels.separator is not None
    return isinstance(labels, LabelColumns | LabelCoco) and labels.several


class TestIds(Options):
    """A table that lists the test images."""

    file: FileName
    """Its name, among the files or in an archive: CSV, or JSON like COCO's."""
    id_column: str | None = "id"
    """The column with the image's file name, with or without its path and ending. null numbers the
    rows from 1."""
    where: Where = {}
    """Read only the rows with these values, such as {split: test}."""


class BookSplit(Options):
    """Every class gives as many images: max(floor(n * valid_ratio), 1), n those of the rarest."""

    name: Literal["book"] = "book"


class StratifiedSplit(Options):
    """Every class gives its own share; a class with one image stays in training."""

    name: Literal["stratified"] = "stratified"


class GroupSplit(Options):
    """Groups, such as the images of a patient, are not divided."""

    name: Literal["groups"] = "groups"
    file: FileName
    """The CSV file with the images' groups, which may be that of the labels."""
    id_column: str = "id"
    """The column with the image's file name, with or without its path and ending."""
    group_column: str
    """The column with the group."""


class FixedSplit(Options):
    """A table says which images are for validation."""

    name: Literal["fixed"] = "fixed"
    file: FileName
    """The CSV file, which may be that of the labels."""
    id_column: str = "id"
    """The column with the image's file name, with or without its path and ending."""
    split_column: str = "split"
    """The column that says it."""
    valid: str = "valid"
    """Its value for validation images; all others are trained on."""


Split = Annotated[
    Annotated[BookSplit, Tag("book")]
    | Annotated[StratifiedSplit, Tag("stratified")]
    | Annotated[GroupSplit, Tag("groups")]
    | Annotated[FixedSplit, Tag("fixed")],
    kind("stratified"),
]


class SampleForm(Options):
    """The form of the sample submission; without one, the form that suits the metric and labels."""

    name: Literal["sample"] = "sample"


class LabelForm(Options):
    """A column with the class's name."""

    name: Literal["label"] = "label"
    id_column: str = "id"
    """The header of the ids if there is no sample submission."""
    label_column: str = "label"
    """The header of the labels if there is no sample submission."""


class ProbabilitiesForm(Options):
    """A column for each class, with its probability."""

    name: Literal["probabilities"] = "probabilities"
    id_column: str = "id"
    """The header of the ids if there is no sample submission."""


class ProbabilityForm(Options):
    """One column, with the probability of one of two classes."""

    name: Literal["probability"] = "probability"
    positive: str
    """The class whose probability it is."""
    id_column: str = "id"
    """The header of the ids if there is no sample submission."""
    probability_column: str = "probability"
    """The header of the probabilities if there is no sample submission."""


class TopKForm(Options):
    """The k likeliest classes in one column, the likeliest first."""

    name: Literal["top_k"] = "top_k"
    k: Annotated[int, Field(ge=1)] = 5
    """How many."""
    separator: str = " "
    """What separates them."""
    id_column: str = "id"
    """The header of the ids if there is no sample submission."""
    label_column: str = "label"
    """The header of the labels if there is no sample submission."""


class SeveralLabelsForm(Options):
    """All classes of an image in one column."""

    name: Literal["several_labels"] = "several_labels"
    separator: str = " "
    """What separates them."""
    id_column: str = "id"
    """The header of the ids if there is no sample submission."""
    label_column: str = "label"
    """The header of the labels if there is no sample submission."""


Submission = Annotated[
    Annotated[SampleForm, Tag("sample")]
    | Annotated[LabelForm, Tag("label")]
    | Annotated[ProbabilitiesForm, Tag("probabilities")]
    | Annotated[ProbabilityForm, Tag("probability")]
    | Annotated[TopKForm, Tag("top_k")]
    | Annotated[SeveralLabelsForm, Tag("several_labels")],
    kind("sample"),
]

# The metrics of predicted classes, whose thresholds are chosen on validation images.
THRESHOLD_METRICS = (
    "f1",
    "f1_macro",
    "f1_micro",
    "f1_samples",
    "f2",
    "quadratic_weighted_kappa",
)
Metric = Annotated[
    str,
    Field(
        pattern=r"^(accuracy|top_[1-9][0-9]*_error|log_loss|roc_auc|mean_column_roc_auc"
        r"|f1|f1_micro|f1_macro|f1_samples|f2|quadratic_weighted_kappa|map_at_[1-9][0-9]*)$"
    ),
]


class Dataset(Source):
    """Where a competition's files come from, and how to read them."""

    title: str
    """The dataset's name, for display."""
    homepage: str | None = None
    """The page that describes the dataset."""
    archive_format: ArchiveFormat = "images"
    """images: archives of image files. cifar_python: the Toronto archive's pickled batches,
    which become numbered images and a table of labels. pixels: the rows of CSV files, see
    `pixels`."""
    pixels: PixelTables | None = None
    """With archive_format pixels: the tables and columns that hold the images."""
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    """The encoding of the CSV files; UTF-16 is recognized by its first bytes."""
    image_size: ImageSize | None = None
    """Height and width that every image must have, in pixels (one number for both); null if they
    differ."""
    labels: Labels
    """How the training images are labelled."""
    test_ids: TestIds | None = None
    """The table of the test images, if their folder has others as well; null: all images in
    test_folder, or those of the sample submission if test_folder is null."""
    sample_submission: FileName | None = None
    """The competition's sample submission, which sets the form, header, ids and order of ours.
    Without one, the ids are those of the test images in numeric order."""
    true_labels: FileName | None = None
    """A CSV file with the test images' true labels, if known: with the labels' columns, or in the
    form of a submission."""
    submission: Submission = SampleForm()
    """The form of the submission."""
    metric: Metric | None = None
    """The competition's metric: accuracy, top_5_error (or another number), log_loss, roc_auc (of
    two classes), mean_column_roc_auc, f1 (of two classes), f1_micro, f1_macro, f1_samples, f2,
    quadratic_weighted_kappa or map_at_5 (or another number). null goes by the submission's form:
    accuracy for a label, log_loss for probabilities, roc_auc for one probability, map_at_k for the
    k likeliest, f1_samples for several labels."""
    split: Split = StratifiedSplit()
    """How the validation images are chosen."""
    mean: Annotated[list[Mean], Field(min_length=3, max_length=3)] | None = None
    """Mean of each channel (red, green, blue) over the training images, in 0...1; null measures
    it."""
    std: Annotated[list[Std], Field(min_length=3, max_length=3)] | None = None
    """Standard deviation of each channel over the training images, in 0...1; null measures it."""

    @model_validator(mode="after")
    def _check_sections(self) -> "Dataset":
        if (self.archive_format == "pixels") != (self.pixels is not None):
            raise ValueError("archive_format pixels and the section pixels need each other")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std need each other; give both, or neither")
        if self.test_folder is None and self.test_ids is None and self.sample_submission is None:
            raise ValueError(
                "test_folder is null, so test_ids or sample_submission must list the test images"
            )
        return self

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several classes."""
        return has_several(self.labels)

    @property
    def needs_thresholds(self) -> bool:
        """Whether the submission's labels are cut at thresholds chosen on validation images."""
        if self.metric is None:
            return self.several_labels
        return self.metric in THRESHOLD_METRICS
