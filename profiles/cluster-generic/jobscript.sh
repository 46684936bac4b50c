#!/bin/sh
# properties = {properties}

# A scheduler's warning signal reaches all processes of a job. The training saves and stops; its
# parents must outlive it. Snakemake ignores SIGUSR1 only if it inherits that.
trap : TERM
trap "" USR1

{exec_job}
