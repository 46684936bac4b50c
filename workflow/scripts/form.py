"""Rule `form`: decides the form of the submission, and its metric."""

import json
from pathlib import Path

import job
from imagepipe.dataset.deciding import decide_form
from imagepipe.dataset.labels import LabelOptions


def main(snakemake) -> None:
    decide_form(
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.form).parent,
        LabelOptions.model_validate(json.loads(snakemake.params.options)),
    )


if __name__ == "__main__":
    job.run(main, snakemake)
