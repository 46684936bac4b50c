"""Rule `train`: a model that is validated on the images held out."""

import json
from pathlib import Path

import job
from imagepipe.checks.leakage import refuse_test_images
from imagepipe.launch.launching import run_training
from imagepipe.training.runs import Inputs, Machine, Outputs, Run


def main(snakemake) -> None:
    refuse_test_images(
        Path(snakemake.input.duplicates),
        allowed=snakemake.config["allow_test_images_in_training"],
    )
    run_training(
        Run(
            snakemake.wildcards.run,
            Inputs(
                images=Path(snakemake.input.images),
                table=Path(snakemake.input.table),
                classes=Path(snakemake.input.classes),
                split=Path(snakemake.input.split),
            ),
            Outputs(
                model=Path(snakemake.output.model),
                history=Path(snakemake.output.history),
                metrics=Path(snakemake.output.metrics),
                settings=Path(snakemake.output.settings),
                valid_logits=Path(snakemake.output.valid_logits),
            ),
            json.loads(snakemake.params.options),
            snakemake.params.code,
            Path(snakemake.params.checkpoint),
            Machine(
                device=snakemake.config["device"],
                gpus=snakemake.resources.gpu,
                threads=snakemake.threads,
                checkpoint_minutes=snakemake.config["checkpoint_minutes"],
                processes_per_node=snakemake.config["gpus_per_run"],
                nodes=snakemake.config["nodes_per_run"],
            ),
        )
    )


if __name__ == "__main__":
    job.run(main, snakemake)
