# The workflow is in workflow/Snakefile, where Snakemake looks for it in a git repository.


include: "workflow/Snakefile"


# Here, as Snakemake does not take its default target from a file that is included.
rule all:
    default_target: True
    input:
        rules.publish.output.submission,
