#!/usr/bin/env python3
"""Cancel the jobs with the given numbers."""

import subprocess
import sys

from schedulers import scheduler_here

if __name__ == "__main__":
    sys.exit(subprocess.run([scheduler_here().cancel, *sys.argv[1:]]).returncode)
