"""Rule `extract`: the images in the archives, unpacked and listed, or only listed, and tables."""

import json
from pathlib import Path

from imagepipe.dataset_files import table_names
from imagepipe.extraction import extract
from job import run


def main(snakemake) -> None:
    dataset = json.loads(snakemake.params.options)
    extracted = Path(snakemake.output.manifest).parent
    tables = {name: Path(snakemake.output[role]) for role, name in table_names(dataset).items()}
    raw = Path(snakemake.input.sums).parent
    extract(dataset, raw, extracted, tables, dataset["layout"], workers=snakemake.threads)


if __name__ == "__main__":
    run(main, snakemake)
