from snakemake.utils import min_version

min_version("9.17")


include: "workflow/rules/library.smk"


configfile: ROOT / "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/check.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/hooks.smk"


rule all:
    default_target: True
    input:
        rules.publish.output.submission,


onstart:
    refuse_without_download_tool()
    START_FILE.touch()
    forget_forced_checkpoints()


onsuccess:
    print_summary()


onerror:
    print_last_words()
