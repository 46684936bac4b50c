"""Rule `labels`: checks the training labels and lists the classes."""

import json
from pathlib import Path

import job
from imagepipe.config.dataset import Labels
from imagepipe.dataset.labels import match_labels


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    match_labels(
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.labels).parent,
        Labels.model_validate(options["labels"]),
        sample_submission=options["sample_submission"],
        image_extension=options["image_extension"],
        on_bad_image=options["on_bad_image"],
    )


if __name__ == "__main__":
    job.run(main, snakemake)
