"""The options of config.yaml: what a user chooses."""

from typing import Annotated, Any, Literal

from pydantic import Field

from imagepipe.config.options import Options


class Settings(Options):
    """What a user chooses, in config.yaml or by --config on the command line."""

    dataset: str = "sample"
    """A dataset's name (a file in workflow/datasets/) or the path of your own dataset file."""
    raw_dir: str | None = None
    """A folder that holds the dataset's archives; null fetches them."""
    recipe: str = "fast"
    """A recipe's name (a file in workflow/recipes/) or the path of your own recipe file."""
    override: dict[str, Any] = {}
    """Changes of single keys of the recipe, such as {epochs: 5, optimizer: {lr: 0.1}}. Each
    setting is a run with results of its own."""
    valid_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Every class gives max(floor(n * valid_ratio), 1) images to the validation set, where n is
    the number of images of the rarest class."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Draws the validation images."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Draws the initial weights, the order of images and augmentation."""
    members: Annotated[int | None, Field(ge=1)] = None
    """Number of models, with the seeds seed ... seed + members - 1, that are trained on all
    labelled images; the submission averages their probabilities. null takes the recipe's
    number."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train and predict; auto takes CUDA, else MPS, else the CPU."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """The most that an interrupted training has to do again; a checkpoint is also written after
    epochs."""
    prediction_batch_size: Annotated[int, Field(ge=1)] = 500
    """Number of test images that go through the model at once."""
    layout: Literal["folders", "packed"] = "folders"
    """folders unpacks the images and makes the book's folder tree; packed decodes them straight
    from the archives and writes no image file, for file systems that are slow with small files.
    The arrays that training reads are the same."""
    on_bad_image: Literal["error", "drop"] = "error"
    """What to do with a training image that cannot be decoded, has no label, or is missing:
    error stops with its name, drop leaves it out and names it in the data report. A bad test
    image is always an error."""
    allow_test_images_in_training: bool = False
    """Train even if labelled images are also in the test set, pixel for pixel; otherwise no
    training starts then."""
    link_mode: Literal["auto", "hardlink", "symlink", "copy"] = "auto"
    """How train_valid_test/ refers to the extracted images; auto takes hard links, else
    symbolic links, else copies."""
