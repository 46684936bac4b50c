"""Rule `predict`: computes the final model's logits of the test images."""

import json
from pathlib import Path

import job
from imagepipe.prediction.features import predict_embeddings
from imagepipe.prediction.predict import predict_test


def main(snakemake) -> None:
    files = snakemake.input
    machine = {
        "device": snakemake.config["device"],
        "gpus": snakemake.resources.gpu,
        "threads": snakemake.threads,
    }
    model, table, target = map(Path, (files.model, files.table, snakemake.output.logits))
    if files.get("embeddings"):
        predict_embeddings(model, Path(files.embeddings), table, target, **machine)
        return
    options = json.loads(snakemake.params.options)
    predict_test(model, Path(files.images), table, target, **options, **machine)


if __name__ == "__main__":
    job.run(main, snakemake)
