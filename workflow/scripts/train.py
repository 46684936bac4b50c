"""Rules `train`, on the images that are not held out, and `retrain`, on all labelled images."""

import json
from pathlib import Path

import job
from imagepipe.checks.leakage import refuse_test_images
from imagepipe.config.recipe import Recipe
from imagepipe.launch.launching import run_training
from imagepipe.training.runs import Machine, Run, TrainingInputs, TrainingOutputs
from imagepipe.training.state import TrainingSpec


def main(snakemake) -> None:
    refuse_test_images(
        Path(snakemake.input.duplicates),
        allowed=snakemake.config["allow_test_images_in_training"],
    )
    resources, options = snakemake.resources, json.loads(snakemake.params.options)
    options["recipe"] = Recipe.model_validate(options["recipe"])
    split = snakemake.input.get("split")
    valid_logits = snakemake.output.get("valid_logits")
    run_training(
        Run(
            snakemake.wildcards.run,
            TrainingInputs(
                images=Path(snakemake.input.images),
                table=Path(snakemake.input.table),
                classes=Path(snakemake.input.classes),
                split=Path(split) if split else None,
            ),
            TrainingOutputs(
                model=Path(snakemake.output.model),
                history=Path(snakemake.output.history),
                metrics=Path(snakemake.output.metrics),
                settings=Path(snakemake.output.settings),
                valid_logits=Path(valid_logits) if valid_logits else None,
            ),
            TrainingSpec(**options),
            snakemake.params.code,
            Path(snakemake.params.checkpoint),
            Machine(
                device=snakemake.config["device"],
                gpus=resources.gpu,
                threads=snakemake.threads,
                checkpoint_minutes=snakemake.config["checkpoint_minutes"],
                processes_per_node=resources.get("processes")
                or max(1, resources.gpu // resources.nodes),
                nodes=resources.nodes,
            ),
        )
    )


if __name__ == "__main__":
    job.run(main, snakemake)
