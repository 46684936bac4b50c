"""Rule `extract`: the archives' images in one flat folder for each split, and the tables."""

import json
from pathlib import Path

from imagepipe.dataset_files import table_names
from imagepipe.extraction import extract
from job import run


def main(snakemake) -> None:
    dataset = json.loads(snakemake.params.options)
    extracted = Path(snakemake.output.manifest).parent
    tables = {name: Path(snakemake.output[role]) for role, name in table_names(dataset).items()}
    extract(dataset, Path(snakemake.input.sums).parent, extracted, tables)


if __name__ == "__main__":
    run(main, snakemake)
