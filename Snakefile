from pathlib import Path

from snakemake.utils import min_version

min_version("9.17")


include: "workflow/rules/terminal.smk"


configfile: Path(workflow.basedir) / "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.publish.output.submission,


onstart:
    refuse_without_download_tool()
    remember_start()
    forget_forced_checkpoints()


onsuccess:
    print_summary()


onerror:
    print_last_words()
