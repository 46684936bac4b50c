"""Rule `predict`: computes the final model's logits of the test images."""

import json
from pathlib import Path

import job
from imagepipe.prediction.predict import predict_test


def main(snakemake) -> None:
    predict_test(
        Path(snakemake.input.model),
        Path(snakemake.input.images),
        Path(snakemake.input.table),
        Path(snakemake.output.logits),
        **json.loads(snakemake.params.options),
        device=snakemake.config["device"],
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
