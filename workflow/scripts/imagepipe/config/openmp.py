"""Limits how long OpenMP threads spin while they wait for each other."""

import os

# For libgomp, which PyTorch uses on Linux. By default, when one thread loses its core to another
# program, the others spin until it gets the core back.
SPINS = "1000"


def wait_briefly() -> None:
    """Make the threads of child processes spin only briefly while they wait for each other.

    On two cores with another busy process, training becomes several times as fast; on an idle
    machine, a few percent slower (`benchmarks/busy_machine.py`). Results stay bit-identical.
    The user's own environment variables win. Call this before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
