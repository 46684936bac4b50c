"""Rule `predict`: the final model's logits of the test images."""

import json
from pathlib import Path

import job
from imagepipe.prediction.predict import predict_test


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    predict_test(
        Path(snakemake.input.model),
        Path(snakemake.input.images),
        Path(snakemake.input.table),
        Path(snakemake.output.logits),
        batch_size=options["batch_size"],
        precision_option=options["precision"],
        tf32=options["tf32"],
        deterministic=options["deterministic"],
        device_option=snakemake.config["device"],
        gpus=snakemake.resources.gpu,
        threads=snakemake.threads,
    )


if __name__ == "__main__":
    job.run(main, snakemake)
