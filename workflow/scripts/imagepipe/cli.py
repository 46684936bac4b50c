"""The command `imagepipe`."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import get_args

import click

from imagepipe.config import schemas
from imagepipe.config.openmp import wait_briefly
from imagepipe.config.recipe import Precision
from imagepipe.errors import UserError, one_line
from imagepipe.files import write_text


@click.group()
@click.version_option(package_name="imagepipe")
def main() -> None:
    """Tools beside the workflow, which itself is run by `snakemake`."""


@main.command()
@click.argument("name", type=click.Choice(list(schemas.SCHEMAS)), required=False)
@click.option("--write", is_flag=True, help="Write all schemas and docs/options.md anew.")
def schema(name: str | None, write: bool) -> None:
    """Print the JSON schema of config.yaml (config), of dataset files or of recipe files.

    Without NAME, print the table of all options.
    """
    if write:
        # workflow/scripts/imagepipe/cli.py, in a checkout that is installed by `pip install -e .`
        project = Path(__file__).parents[3]
        if not (project / "workflow" / "schemas").is_dir():
            raise click.ClickException("--write needs a checkout, installed by `pip install -e .`")
        for path in schemas.write_all(project):
            click.echo(path)
    else:
        click.echo(schemas.json_schema(name) if name else schemas.options_page(), nl=False)


@main.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="FOLDER_OR_BUNDLE")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write."
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(source: Path, output: Path | None, force: bool) -> None:
    """Look at a folder of images, at archives or at a competition's bundle; write a dataset file.

    What cannot be known from the files stands in it in lines with the word CHOOSE.
    """
    from imagepipe.inspection import dataset_file  # it takes a second to import

    logging.disable(logging.WARNING)  # the lines say the same
    try:
        lines = dataset_file.init(source, output, force)
    except (UserError, OSError) as error:
        raise click.ClickException(one_line(str(error))) from None
    finally:
        logging.disable(logging.NOTSET)
    for line in lines:
        click.echo(line)


@main.command()
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="MODEL... IMAGES...",
    type=click.Path(path_type=Path),
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write a CSV file, not a table."
)
@click.option(
    "--top", type=click.IntRange(min=0), default=0, metavar="K", help="Add the K likeliest classes."
)
@click.option("--probabilities", is_flag=True, help="Add every class's probability, as CSV.")
@click.option(
    "--submission",
    "dataset",
    metavar="FOLDER",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Write rows of the competition's submission, those of the given test images. FOLDER is "
    "data/DATASET.",
)
@click.option(
    "--thresholds",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The run's thresholds.json, by which probabilities become labels. With --submission, it "
    "is found beside the model's seeds.",
)
@click.option("--skip-bad", is_flag=True, help="Exit with 0 although an image was unreadable.")
@click.option("--salvage", is_flag=True, help="Take what can be decoded of a damaged image.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")
@click.option("--precision", type=click.Choice(get_args(Precision)), default="auto")
@click.option("--batch-size", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="By default, all cores.")
def predict(
    paths: tuple[Path, ...],
    output: Path | None,
    top: int,
    probabilities: bool,
    dataset: Path | None,
    thresholds: Path | None,
    skip_bad: bool,
    salvage: bool,
    device: str,
    precision: Precision,
    batch_size: int,
    threads: int | None,
) -> None:
    """Predict new images with a trained model, or with the average of several.

    A MODEL is a file model.safetensors. IMAGES are image files, folders, archives, or CSV files
    that list paths. The table shows the path, the label and the probability of the likeliest class;
    piped, or with -o, it is CSV. Unreadable images are named, and make the exit code 1.
    """
    models = [path for path in paths if path.suffix == ".safetensors"]
    images = [path for path in paths if path.suffix != ".safetensors"]
    if not models or not images:
        raise click.UsageError("give a model (a file .safetensors), and images")
    if dataset and (top or probabilities):
        raise click.UsageError("--submission has its own columns: drop --top and --probabilities")

    # PyTorch takes seconds to import, and reads the environment when it is imported.
    wait_briefly()
    import torch

    from imagepipe.device.memory import keep_freed_memory
    from imagepipe.prediction.image_files import find_images
    from imagepipe.prediction.new_images import Reading, available_cores, load
    from imagepipe.prediction.tables import csv_text, terminal_text
    from imagepipe.submission.new_images import submission_rows, thresholds_of_run

    bad: list[str] = []
    note = partial(click.echo, err=True)

    def on_bad(name: str, problem: str) -> None:
        bad.append(name)
        note(f"{name}: {problem}")

    threads = threads or available_cores()
    torch.set_num_threads(threads)
    keep_freed_memory()
    if dataset and thresholds is None:
        thresholds = thresholds_of_run(models[0])
    try:
        predictor = load(*models, thresholds=thresholds, device=device, precision=precision)
        reading = Reading(on_bad, batch_size, salvage, threads)
        found = find_images(images)
        if dataset:
            text = submission_rows(predictor, found, dataset, reading, note)
        else:
            predictions = predictor.predict_found(found, reading)
            if output is None and is_terminal() and not probabilities:
                text = terminal_text(predictions, top)
            else:
                text = csv_text(predictions, predictor.classes, top, probabilities)
        if output:
            write_text(output, text)
        else:
            click.echo(text, nl=False)
    except UserError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{place}{error.strerror}; correct it") from None
    if bad and not skip_bad:
        sys.exit(1)


@main.command()
@click.argument(
    "folder",
    default=".",
    metavar="[DIR]",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--once", is_flag=True, help="Print one picture, and end.")
@click.option("--web", is_flag=True, help="Serve a page that refreshes itself.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="With --web: the address to serve at."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="With --web: the port; by default, any free one.",
)
def watch(folder: Path, once: bool, web: bool, host: str, port: int) -> None:
    """Show trainings while they run, with their curves; q or Ctrl-C ends it.

    DIR is the working directory of `snakemake`, a results folder, or a folder of one run. The
    trainings' files are only read.
    """
    if web and once:
        raise click.UsageError("--once and --web exclude each other")
    if web:
        from imagepipe.watch import server

        try:
            server.serve(folder, host, port, click.echo)
        except UserError as error:
            raise click.ClickException(str(error)) from None
        return

    from imagepipe.watch import terminal

    if once:
        terminal.print_once(folder)
    else:
        terminal.watch(folder)


def is_terminal() -> bool:
    """Say whether the output goes to a terminal."""
    return sys.stdout.isatty()


if __name__ == "__main__":
    main()
