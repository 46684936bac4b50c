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
from imagepipe.evaluation.report import write_report
from imagepipe.evaluation.report_inputs import ReportFiles, Run
from imagepipe.evaluation.workflow_figures import draw_times, draw_workflow


def main(snakemake) -> None:
    options = json.loads(snakemake.params.options)
    graph, logs = options.pop("graph"), Path(options.pop("logs"))
    run = Run(**options, settings=dict(snakemake.config))
    costs = read_costs(logs, run.run, run.seeds)
    own_figures = {name: snakemake.output[name] for name in ("times", "workflow")}
    draw_times({one.stage: one.seconds for one in costs}, Path(own_figures["times"]))
    draw_workflow(graph, Path(own_figures["workflow"]))
    inputs = ReportFiles.from_names({**dict(snakemake.input.items()), **own_figures})
    provenance = Provenance(costs, installed_versions(), code_commit(Path(__file__)))
    write_report(inputs, run, provenance, Path(snakemake.output.report))


if __name__ == "__main__":
    job.run(main, snakemake)
