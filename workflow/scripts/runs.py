"""Rule `runs`: writes the table and the figure of all the dataset's runs on the disk."""

import json
from pathlib import Path

import job
from imagepipe.evaluation.comparison import draw_comparison
from imagepipe.selection.run_results import read_runs
from imagepipe.selection.run_table import write_run_table


def main(snakemake) -> None:
    table = Path(snakemake.output.table)
    names = json.loads(snakemake.params.options)["runs"]
    runs = read_runs([table.parent / name / f"seed{seed}" / "train" for name, seed in names])
    write_run_table(runs, table)
    draw_comparison(runs, Path(snakemake.output.comparison))


if __name__ == "__main__":
    job.run(main, snakemake)
