"""Rule `runs`: writes the table of all the dataset's runs on the disk."""

import json
from pathlib import Path

import job
from imagepipe.selection.run_table import write_run_table


def main(snakemake) -> None:
    table = Path(snakemake.output.table)
    names = json.loads(snakemake.params.options)["runs"]
    folders = [table.parent / name / f"seed{seed}" / "train" for name, seed in names]
    write_run_table(folders, table)


if __name__ == "__main__":
    job.run(main, snakemake)
