"""The command `imagepipe`."""

import logging
from pathlib import Path

import click

from imagepipe.config import schemas
from imagepipe.errors import UserError, one_line


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

    logging.getLogger("imagepipe").setLevel(logging.ERROR)  # the lines say the same
    try:
        lines = dataset_file.init(source, output, force)
    except (UserError, OSError) as error:
        raise click.ClickException(one_line(str(error))) from None
    for line in lines:
        click.echo(line)


if __name__ == "__main__":
    main()
