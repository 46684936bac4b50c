"""Rule `pack`: decodes every image once, into an array of labelled and one of test images."""

import json
from pathlib import Path

import job
from imagepipe.config.dataset import Contents
from imagepipe.config.image_form import image_form
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
        Path(snakemake.input.test_ids),
        Path(snakemake.output.labelled).parent,
        image_form(options["own_size"], options["size"], options["fit"]),
        on_bad_image=options["on_bad_image"],
        workers=snakemake.threads,
        archives=archives,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
