"""Rule `labels`: the labels of the training images, checked, and the names of the classes."""

import json
from pathlib import Path

import job
from imagepipe.dataset.labels import write_labels


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    write_labels(
        options,
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.labels),
        Path(snakemake.output.classes),
        Path(snakemake.output.unmatched),
        options["on_bad_image"],
    )


if __name__ == "__main__":
    job.run(main, snakemake)
