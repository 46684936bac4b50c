"""Rule `weights`: gets a network's pretrained weights as one checked file."""

import json
from pathlib import Path

import job
from imagepipe.config.weights import WeightsRequest
from imagepipe.sources.weights import write_weights


def main(snakemake) -> None:
    request = WeightsRequest.model_validate(json.loads(snakemake.params.options)["request"])
    weights, record = Path(snakemake.output.weights), Path(snakemake.output.record)
    # Not an output: it stays when the job fails or is forced.
    write_weights(request, weights, record, weights.parent / ".downloads")


if __name__ == "__main__":
    job.run(main, snakemake)
