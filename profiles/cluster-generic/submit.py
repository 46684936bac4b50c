#!/usr/bin/env python3
"""Submit a Snakemake job script to the local scheduler, and print the job's number."""

import json
import re
import subprocess
import sys
from pathlib import Path

from schedulers import Request, scheduler_here


def request_of(script: str) -> Request:
    """Parse a job's request from the properties line in its script."""
    properties = json.loads(re.findall(r"^# properties = (.*)$", script, flags=re.MULTILINE)[0])
    resources = properties["resources"]
    name = properties.get("rule") or properties["groupid"]
    if resources.get("nodes", 1) > 1:
        sys.exit("error: nodes: only profiles/slurm can give a training several nodes; set nodes=1")
    logs = Path(".snakemake") / "cluster_logs"
    logs.mkdir(parents=True, exist_ok=True)
    return Request(
        name=name,
        threads=properties["threads"],
        mem_mb=resources["mem_mb"],
        minutes=resources["runtime"],
        gpus=resources.get("gpu", 0),
        log=logs.resolve() / f"{name}-{properties['jobid']}.log",
    )


def main(script: str) -> None:
    scheduler = scheduler_here()
    command = scheduler.submit(request_of(Path(script).read_text()))
    command[1:1] = scheduler.submit_options
    done = subprocess.run([*command, script], stdout=subprocess.PIPE, text=True)
    number = re.search(scheduler.read_number, done.stdout)
    if done.returncode != 0 or number is None:
        sys.exit(f"error: {' '.join(command)}: {done.stdout.strip() or 'see above'}")
    print(number[1])


if __name__ == "__main__":
    main(sys.argv[1])
