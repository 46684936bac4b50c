"""Rule `plots`: draws loss and accuracies of a training over its epochs."""

import json
from pathlib import Path

import job
from imagepipe.evaluation.plots import plot_history


def main(snakemake) -> None:
    title = json.loads(snakemake.params.options)["title"]
    plot_history(Path(snakemake.input.history), Path(snakemake.output.curves), title)


if __name__ == "__main__":
    job.run(main, snakemake)
