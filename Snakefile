# The workflow is in workflow/Snakefile, where Snakemake looks for it in a git repository.


include: "workflow/Snakefile"


# Defined here, because Snakemake takes no default target from an included file.
rule all:
    default_target: True
    input:
        rules.publish.output.submission,
