"""The frame of every rule's script: a log file, and errors in one line."""

import contextlib
import errno
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

# The library beside this file, not an installed one, which may have another version.
sys.path.insert(0, str(Path(__file__).parent))

from imagepipe import progress, terminal_messages
from imagepipe.config.closing_lines import BUG, LEFT_TO_PARENT, closing_line
from imagepipe.errors import Stopped, UserError

# A script imports this module first. Until it calls `run`, Ctrl-C ends the process at once, without
# a traceback from the middle of importing PyTorch, which takes a second.
if (
    hasattr(sys.modules["__main__"], "snakemake")
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class TerminalHandler(logging.Handler):
    """Shows log lines on the terminal, or where standard error goes."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if not shows_bar(record):
            self.show(self.format(record), is_warning=record.levelno >= logging.WARNING)

    def show(self, text: str, is_warning: bool = False) -> None:
        """Leave the lines to the process that draws the terminal, or write them."""
        lines = [terminal_messages.Line(line, is_warning) for line in text.splitlines()]
        if not all(terminal_messages.send(line, wait=True) for line in lines):
            # Its reader or its terminal may be gone, or its disk full: the log has the line, too.
            with contextlib.suppress(OSError):
                # Without breaking a progress bar there.
                tqdm.write(f"[{self.rule}] {text}", file=sys.stderr)
                sys.stderr.flush()


def shows_bar(record: logging.LogRecord) -> bool:
    """Return whether a bar on the terminal shows what this record says."""
    if not progress.is_progress_line(record.getMessage()):
        return False
    # The processes of a training draw no bars. They can only send messages.
    is_own = record.name == progress.__name__
    return terminal_messages.is_open() or (is_own and progress.draws_bars())


def run(main: Callable[[Any], None], snakemake: Any) -> None:
    """Set up logging and call `main(snakemake)`; end the process if it fails.

    A `UserError`, or an error of the operating system such as a full disk, becomes one line that
    starts with "error: ", on the terminal and at the end of the job's log. Any other exception is
    our mistake and is shown with its traceback. The exit code is 1, or 128 plus the signal's number
    after a signal, as in a shell. If the disk is full, the job's outputs are removed before the
    line is written.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    os.environ[terminal_messages.JOB] = str(log)
    terminal = TerminalHandler(snakemake.rule)
    to_file = logging.FileHandler(log, mode="w", encoding="utf-8", errors="backslashreplace")
    to_file.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[to_file, terminal])
    logging.captureWarnings(True)
    # If the log's disk is also full, the terminal still shows each line.
    logging.raiseExceptions = False
    logger = logging.getLogger("job")
    try:
        main(snakemake)
    except UserError as error:
        say_last(f"error: {error}", log, terminal)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        remedy = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "; make room, or set --directory to another disk"
            remove_outputs(snakemake.output)
        say_last(f"error: {place}{error.strerror or error}{remedy}", log, terminal)
    except MemoryError:
        remedy = "close other programs, or make the batches smaller"
        say_last(f"error: the memory is full; {remedy}", log, terminal)
    except Stopped as stopped:
        say_last(str(stopped), log, terminal)
        sys.exit(128 + stopped.signal_number)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception:
        logger.exception(BUG)
    else:
        return
    sys.exit(1)


def say_last(line: str, log: Path, terminal: TerminalHandler) -> None:
    """Log the closing line. Print it only if Snakemake will not show it from the log.

    A log on a full disk may lack the line, or hold only part of it.
    """
    logging.getLogger().removeHandler(terminal)
    logging.getLogger("job").error("%s", line)
    in_the_log = line.encode(errors="backslashreplace").decode()
    if LEFT_TO_PARENT not in os.environ or closing_line(log) != in_the_log:
        terminal.show(line)


def remove_outputs(outputs: Iterable[str]) -> None:
    """Make room on a full disk for the last line of the log.

    Snakemake removes a failed job's outputs too late for that.
    """
    for output in map(Path, outputs):
        if output.is_dir():
            shutil.rmtree(output, ignore_errors=True)
        else:
            output.unlink(missing_ok=True)
