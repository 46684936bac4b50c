"""Rule `model_card`: what the final model is, and what is known about it."""

import json
from pathlib import Path

import job
from imagepipe.evaluation.model_card import write_model_card
from imagepipe.evaluation.provenance import Provenance, code_commit, installed_versions
from imagepipe.evaluation.report_inputs import Run, RunFiles


def main(snakemake) -> None:
    inputs = RunFiles.from_names(dict(snakemake.input.items()))
    run = Run(**json.loads(snakemake.params.options), settings=dict(snakemake.config))
    provenance = Provenance([], installed_versions(), code_commit(Path(__file__)))
    write_model_card(inputs, run, provenance, Path(snakemake.output.card))


if __name__ == "__main__":
    job.run(main, snakemake)
