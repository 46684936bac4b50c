# What the terminal shows. It comes first, as Snakemake tells of the configuration, too.

import sys

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.append(str(SCRIPTS))

import workflow_terminal

# Lambdas, as the two functions are defined later, in common.smk, which needs the configuration.
LINES_ARE_OURS = workflow_terminal.install(
    workflow, lambda: summary_lines(), lambda: earlier_submission()
)
