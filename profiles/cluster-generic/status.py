#!/usr/bin/env python3
"""Print "running", "success" or "failed" for a job number."""

import sys

from schedulers import scheduler_here

if __name__ == "__main__":
    print(scheduler_here().status(sys.argv[1]))
