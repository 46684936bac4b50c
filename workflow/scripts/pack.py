"""Rule `pack`: every image decoded once, into one array of labelled and one of test images."""

import json
from pathlib import Path

import job
from imagepipe.dataset.array_writing import Options
from imagepipe.dataset.packing import pack


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    pack(
        Path(snakemake.input.manifest).parent,
        Path(snakemake.input.labels),
        Path(snakemake.output.labelled).parent,
        Options(options["image_size"], options["on_bad_image"], snakemake.threads),
    )


if __name__ == "__main__":
    job.run(main, snakemake)
