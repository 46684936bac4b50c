"""Rule `select`: the table of all runs, and the one with the best validation accuracy."""

import json
from pathlib import Path

from imagepipe.selection import select
from job import run


def main(snakemake) -> None:
    select(
        json.loads(snakemake.params.options)["runs"],
        [Path(path) for path in snakemake.input.metrics],
        Path(snakemake.output.table),
        Path(snakemake.output.selected),
    )


if __name__ == "__main__":
    run(main, snakemake)
