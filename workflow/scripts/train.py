"""Rules `train` (without the validation images) and `retrain` (on all labelled images)."""

import json
from dataclasses import replace
from pathlib import Path

import job
from imagepipe.checks.leakage import refuse_test_images
from imagepipe.config.recipe import Recipe
from imagepipe.config.weights import WeightsRecord
from imagepipe.launch.launching import run_training
from imagepipe.training.runs import (
    Machine,
    Run,
    TrainingInputs,
    TrainingOutputs,
    read_channels,
)
from imagepipe.training.state import TrainingSpec


def paths(files, *names):
    """Return the paths of a job's files by name, without those that its rule lacks."""
    return {name: Path(files[name]) for name in names if files.get(name)}


def num_processes(resources):
    """Return the number of nodes, and of processes on each one."""
    per_gpu = max(1, resources.gpu // resources.nodes)
    return {
        "processes_per_node": resources.get("processes") or per_gpu,
        "nodes": resources.nodes,
    }


def main(snakemake) -> None:
    refuse_test_images(
        Path(snakemake.input.duplicates),
        allowed=snakemake.config["allow_test_images_in_training"],
    )
    resources, options = snakemake.resources, json.loads(snakemake.params.options)
    options["recipe"] = Recipe.model_validate(options["recipe"])
    if snakemake.input.get("record"):
        record = WeightsRecord.read(Path(snakemake.input.record))
        options |= record.model_dump(include={"mean", "std", "interpolation"})
    elif options["mean"] is None:
        options |= read_channels(Path(snakemake.input.channels))
    names = ("images", "table", "classes", "split", "metric", "weights", "embeddings")
    inputs = TrainingInputs(**paths(snakemake.input, *names))
    names = ("model", "history", "metrics", "settings", "valid_logits")
    outputs = TrainingOutputs(**paths(snakemake.output, *names))
    if snakemake.config["tensorboard"]:
        outputs = replace(outputs, events=outputs.history.with_name("tensorboard"))
    run_training(
        Run(
            snakemake.wildcards.run,
            inputs,
            outputs,
            TrainingSpec(**options),
            snakemake.params.code,
            Path(snakemake.params.checkpoint),
            Machine(
                device=snakemake.config["device"],
                gpus=resources.gpu,
                threads=snakemake.threads,
                checkpoint_minutes=snakemake.config["checkpoint_minutes"],
                # A head trains in seconds, in one process.
                **({} if inputs.embeddings else num_processes(resources)),
            ),
        )
    )


if __name__ == "__main__":
    job.run(main, snakemake)
