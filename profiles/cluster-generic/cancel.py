#!/usr/bin/env python3
"""End the jobs whose numbers are given."""

import subprocess
import sys

from schedulers import scheduler_here

if __name__ == "__main__":
    sys.exit(subprocess.run([scheduler_here().cancel, *sys.argv[1:]]).returncode)
