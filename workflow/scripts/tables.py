"""Rules `tables` and `true_labels`: copy tables from beside or inside the archives."""

import json
from pathlib import Path

import job
from imagepipe.config.dataset import Contents
from imagepipe.dataset.extraction import extract_tables


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    contents = Contents.model_validate(options["contents"])
    tables = dict(zip(options["tables"], map(Path, snakemake.output), strict=True))
    extract_tables(contents, Path(snakemake.input.sums).parent, tables)


if __name__ == "__main__":
    job.run(main, snakemake)
