"""Rules `tables` and `true_labels`: CSV files from beside the archives, or from inside of one."""

import json
from pathlib import Path

import job
from imagepipe.dataset.extraction import extract_tables


def main(snakemake) -> None:
    dataset = json.loads(snakemake.params.options)
    tables = {name: Path(snakemake.output[role]) for role, name in dataset["tables"].items()}
    extract_tables(dataset, Path(snakemake.input.sums).parent, tables)


if __name__ == "__main__":
    job.run(main, snakemake)
