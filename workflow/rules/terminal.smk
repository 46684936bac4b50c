# What the terminal shows. It comes first, as Snakemake tells of the configuration, too.

import sys

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.append(str(SCRIPTS))

import workflow_terminal

# The two functions are in common.smk, which needs the configuration.
LINES_ARE_OURS = workflow_terminal.install(
    workflow, lambda: summary_lines(), lambda: earlier_submission()
)
