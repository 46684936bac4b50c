"""Rule `check_data`: a look at the data before training."""

import json
from pathlib import Path

import job
from imagepipe.checks.data_check import Inputs, Outputs, check_data


def main(snakemake) -> None:
    check_data(
        Inputs(
            packed=Path(snakemake.input.labelled).parent,
            split=Path(snakemake.input.split),
            duplicates=Path(snakemake.input.duplicates),
            classes=Path(snakemake.input.classes),
            unmatched=Path(snakemake.input.unmatched),
        ),
        Outputs(
            json=Path(snakemake.output.report_json),
            markdown=Path(snakemake.output.report_md),
            html=Path(snakemake.output.report_html),
        ),
        json.loads(snakemake.params.options),
    )


if __name__ == "__main__":
    job.run(main, snakemake)
