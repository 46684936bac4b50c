"""The command `imagepipe`."""

from pathlib import Path

import click

from imagepipe.config import schemas


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
