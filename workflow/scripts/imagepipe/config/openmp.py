"""How the threads of a training wait for each other."""

import os

# Of libgomp, which PyTorch computes with on Linux. Its own number is so large that a thread which
# has lost its core to another program makes the others spin for a whole slice of the system's time.
SPINS = "1000"


def wait_briefly() -> None:
    """Have the threads of the processes that this one starts spin only briefly for each other.

    On two cores with one other busy process, a training is several times as fast, and on quiet ones
    a few percent slower (`benchmarks/busy_machine.py`); the results are the same bits. Nothing is
    changed where the user has said how to wait. It must be called before PyTorch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
