"""Rule `labels`: checks the training labels, and lists the test images."""

import json
from pathlib import Path

import job
from imagepipe.dataset.labels import LabelOptions, match_labels


def main(snakemake) -> None:
    match_labels(
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.labels).parent,
        LabelOptions.model_validate(json.loads(snakemake.params.options)),
    )


if __name__ == "__main__":
    job.run(main, snakemake)
