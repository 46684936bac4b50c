"""Rule `pack`: decodes every image once, into an array of labelled and one of test images."""

import json
from pathlib import Path

import job
from imagepipe.config.dataset import Contents
from imagepipe.dataset.packing import pack


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    archives = None
    if options["layout"] == "packed":
        contents = Contents.model_validate(options["contents"])
        archives = (contents, Path(snakemake.input.sums).parent)
    pack(
        Path(snakemake.input.manifest).parent,
        Path(snakemake.input.labels),
        Path(snakemake.output.labelled).parent,
        image_size=options["image_size"],
        on_bad_image=options["on_bad_image"],
        workers=snakemake.threads,
        archives=archives,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
