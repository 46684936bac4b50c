"""The options of a dataset file: where a competition's files come from, and how to read them."""

from typing import Annotated, Literal

from pydantic import Field

from imagepipe.config.options import Options

FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
Checksum = Annotated[
    str, Field(pattern=r"^(md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64})$")
]
Mean = Annotated[float, Field(ge=0, le=1)]
Std = Annotated[float, Field(gt=0, le=1)]


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
    files: Annotated[list[SourceFile], Field(min_length=1)]
    """The source's files. Archives (.7z, .zip, .tar.gz) are unpacked."""
    bundle: str | None = None
    """The name of a .zip file in raw_dir that may hold all of the files."""
    train_folder: str = "train"
    """The labelled images' folder. An image in an archive belongs to the nearest folder above it
    that is named train_folder or test_folder; the archive's own name counts as the outermost."""
    test_folder: str = "test"
    """The test images' folder, found the same way."""


class Contents(Options):
    """The layout of a dataset's files, for the stages that read images and tables from them.

    Stages leave a key that they do not need at its default.
    """

    source: str
    files: list[SourceFile]
    archive_format: Literal["images", "cifar_python"] = "images"
    image_extension: str = "png"
    image_size: int = 32
    train_folder: str = "train"
    test_folder: str = "test"


class Labels(Options):
    """The CSV file with the training images' labels, and its two columns."""

    file: FileName
    """Its name, among the files or in an archive."""
    id_column: str = "id"
    """The column with the image's file name, with or without its extension."""
    label_column: str = "label"
    """The column with the class's name."""


class Submission(Options):
    """The form of the submission."""

    format: Literal["label", "probability"] = "label"
    """label: a column with the class's name. probability: a column for each class."""
    id_column: str = "id"
    """The header of the ids if there is no sample submission."""
    label_column: str = "label"
    """The header of the labels if there is no sample submission."""


class Dataset(Source):
    """Where a competition's files come from, and how to read them."""

    title: str
    """The dataset's name, for display."""
    homepage: str | None = None
    """The page that describes the dataset."""
    archive_format: Literal["images", "cifar_python"] = "images"
    """images: archives of image files. cifar_python: the Toronto archive's pickled batches,
    which become numbered images and a table of labels."""
    image_extension: Literal["png", "jpg", "jpeg"] = "png"
    """The extension of the image files, without the dot."""
    image_size: Annotated[int, Field(ge=1)] = 32
    """Height and width of every image, in pixels."""
    labels: Labels
    """The labels of the training images."""
    sample_submission: FileName | None = None
    """The competition's sample submission, which sets the header, ids and order of ours. Without
    one, the ids are those of the test images in numeric order."""
    true_labels: FileName | None = None
    """A CSV file with the test images' true labels, if known."""
    submission: Submission = Submission()
    """The form of the submission."""
    mean: Annotated[list[Mean], Field(min_length=3, max_length=3)]
    """Mean of each channel (red, green, blue) over the training images, in 0...1."""
    std: Annotated[list[Std], Field(min_length=3, max_length=3)]
    """Standard deviation of each channel over the training images, in 0...1."""
