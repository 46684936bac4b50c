"""The options of config.yaml: the user's choices."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from imagepipe.config.options import Options, with_text_keys


class Settings(Options):
    """The user's choices, in config.yaml or after --config on the command line."""

    dataset: str = "sample"
    """A dataset's name (a file in workflow/datasets/) or the path of your own dataset file."""
    raw_dir: str | None = None
    """A folder with the dataset's archives; null fetches them."""
    recipe: str = "fast"
    """A recipe's name (a file in workflow/recipes/) or the path of your own recipe file."""
    override: Annotated[dict[str, Any], AfterValidator(with_text_keys)] = {}
    """Changes to single keys of the recipe, such as {epochs: 5, optimizer: {lr: 0.1}}. Each set
    of changes is a run with its own results."""
    valid_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The fraction of the labelled images to validate on; the dataset file's `split` says how they
    are drawn."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the draw of validation images."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the initial weights, the order of images and the augmentation."""
    members: Annotated[int | None, Field(ge=1)] = None
    """Number of models to train on all labelled images, with the seeds
    seed ... seed + members - 1; the submission averages their probabilities. null uses the
    recipe's number."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train and predict; auto uses CUDA, else MPS, else the CPU."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """The most minutes of training that an interruption can lose; a checkpoint is also written
    after epochs."""
    tensorboard: bool = False
    """Also write TensorBoard's event files, beside history.csv. A change reruns nothing."""
    prediction_batch_size: Annotated[int, Field(ge=1)] = 500
    """The most test images to send through the model at once; of large images, fewer."""
    layout: Literal["folders", "packed"] = "folders"
    """folders unpacks the images and builds the book's folder tree; packed decodes them straight
    from the archives and writes no image files, for file systems that are slow with small files.
    Training reads the same arrays either way."""
    on_bad_image: Literal["error", "drop", "salvage"] = "error"
    """For a training image that cannot be decoded, has no label, or is missing: error stops and
    names it, drop skips it and lists it in the data report. salvage does as drop, but takes what
    can be decoded of a damaged image, in the test set, too. Otherwise, a bad test image is always
    an error."""
    allow_test_images_in_training: bool = False
    """Train even if labelled images are also in the test set, pixel for pixel. By default,
    training is then refused."""
    link_mode: Literal["auto", "hardlink", "symlink", "copy"] = "auto"
    """How train_valid_test/ refers to the extracted images; auto uses hard links, else symbolic
    links, else copies."""
