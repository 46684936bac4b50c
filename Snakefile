# The workflow is in workflow/Snakefile, where Snakemake looks for it in a git repository.


include: "workflow/Snakefile"
