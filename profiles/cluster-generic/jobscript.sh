#!/bin/sh
# properties = {properties}

# A scheduler's warning goes to all processes of a job. It is meant for the training, which saves and
# stops; what started it must live until then. Snakemake itself takes no notice of a SIGUSR1 only if
# it inherits that.
trap : TERM
trap "" USR1

{exec_job}
