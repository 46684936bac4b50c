"""Rule `embed`: computes a frozen network's features of all images."""

import json
from pathlib import Path

import job
from imagepipe.config.recipe import FrozenNetwork
from imagepipe.prediction.embedding import embed


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    embed(
        FrozenNetwork.model_validate(options.pop("network")),
        Path(snakemake.input.weights),
        Path(snakemake.input.record),
        {
            Path(snakemake.input[name]): Path(snakemake.output[name])
            for name in ("labelled", "test")
        },
        **options,
        device=snakemake.config["device"],
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
