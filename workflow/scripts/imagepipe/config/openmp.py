"""How the threads of a training wait for each other."""

import os

# For libgomp, which PyTorch uses on Linux. With its default, when one thread loses its core to
# another program, the others spin until the system gives the core back.
SPINS = "1000"


def wait_briefly() -> None:
    """Let the threads of child processes spin only briefly while they wait for each other.

    On two cores with one other busy process, a training becomes several times as fast; on an idle
    machine, a few percent slower (`benchmarks/busy_machine.py`). The results are the same bits.
    Environment variables that the user has set stay. Call this before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
