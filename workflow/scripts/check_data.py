"""Rule `check_data`: the data report, before training."""

import json
from pathlib import Path

import job
from imagepipe.checks.data_check import DataFiles, check_data


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    files = DataFiles(
        packed=Path(snakemake.input.labelled).parent,
        split=Path(snakemake.input.split),
        duplicates=Path(snakemake.input.duplicates),
        classes=Path(snakemake.input.classes),
        unmatched=Path(snakemake.input.unmatched),
    )
    check_data(
        files,
        Path(snakemake.output.report_json),
        options["mean"],
        options["std"],
        several_labels=options["several_labels"],
    )


if __name__ == "__main__":
    job.run(main, snakemake)
