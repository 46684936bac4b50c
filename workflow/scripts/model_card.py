"""Rule `model_card`: what the final model is, and what is known about it."""

import json
from pathlib import Path

import job
from imagepipe.evaluation.model_card import ModelCardInputs, write_model_card
from imagepipe.evaluation.provenance import Provenance, code_commit, installed_versions
from imagepipe.evaluation.report import FIGURES
from imagepipe.evaluation.results import Run


def main(snakemake) -> None:
    files = snakemake.input
    inputs = ModelCardInputs(
        evaluation=Path(files.evaluation),
        metrics=Path(files.metrics),
        final_metrics=[Path(path) for path in files.final_metrics],
        models=[Path(path) for path in files.models],
        data_report=Path(files.data_report),
        sums=Path(files.sums),
        score=Path(score) if (score := files.get("score")) else None,
        figures={title: Path(svg) for name, title in FIGURES.items() if (svg := files.get(name))},
    )
    run = Run(**json.loads(snakemake.params.options), settings=dict(snakemake.config))
    provenance = Provenance([], installed_versions(), code_commit(Path(__file__)))
    write_model_card(inputs, run, provenance, Path(snakemake.output.card))


if __name__ == "__main__":
    job.run(main, snakemake)
