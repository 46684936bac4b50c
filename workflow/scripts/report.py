"""Rule `report`: the page about a run."""

import json
from pathlib import Path

import job
from imagepipe.evaluation.provenance import (
    Provenance,
    code_commit,
    installed_versions,
    read_costs,
)
from imagepipe.evaluation.report import FIGURES, ReportInputs, write_report
from imagepipe.evaluation.results import Run
from imagepipe.evaluation.workflow_figures import draw_times, draw_workflow


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    graph, logs = options.pop("graph"), Path(options.pop("logs"))
    run = Run(**options, settings=dict(snakemake.config))
    costs = read_costs(logs, run.run, run.seeds)
    figures = {name: Path(snakemake.input[name]) for name in FIGURES if name in snakemake.input.keys()}
    figures |= {name: Path(snakemake.output[name]) for name in ("times", "workflow")}
    draw_times({one.stage: one.seconds for one in costs}, figures["times"])
    draw_workflow(graph, figures["workflow"])
    inputs = ReportInputs(
        **{
            name: Path(snakemake.input[name])
            for name in (
                *("evaluation", "predictions", "history", "metrics", "settings"),
                *("runs", "data_report", "sums", "submission"),
            )
        },
        final_metrics=[Path(path) for path in snakemake.input.final_metrics],
        models=[Path(path) for path in snakemake.input.models],
        score=Path(snakemake.input.score) if "score" in snakemake.input.keys() else None,
        figures=figures,
    )
    provenance = Provenance(costs, installed_versions(), code_commit(Path(__file__)))
    write_report(inputs, run, provenance, Path(snakemake.output.report))


if __name__ == "__main__":
    job.run(main, snakemake)
