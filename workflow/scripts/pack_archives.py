"""Rule `pack` of the layout "packed": the images decoded straight from the archives."""

import json
from pathlib import Path

import job
from imagepipe.dataset.array_writing import Options
from imagepipe.dataset.packing import pack_archives


def main(snakemake) -> None:
    dataset = json.loads(snakemake.params.options)
    pack_archives(
        dataset,
        Path(snakemake.input.sums).parent,
        Path(snakemake.input.manifest).parent,
        Path(snakemake.input.labels),
        Path(snakemake.output.labelled).parent,
        Options(dataset["image_size"], dataset["on_bad_image"], snakemake.threads),
    )


if __name__ == "__main__":
    job.run(main, snakemake)
