"""The command line: one subcommand per pipeline function. Heavy imports wait until a command runs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from onemark.cli.commands import app
from onemark.progress import Cancelled
from onemark.types import UserError

# 130 is 128 + SIGINT, which shells report for any program that Ctrl-C ended.
DONE, STOPPED, WRONG_INPUT = 0, 130, 2

__all__ = ["app", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after `onemark`; by default those of the process.

    Returns:
        The exit status: 0 when done, 2 when the user's input is wrong (one line on stderr says what), 130 when
        stopped by Ctrl-C. Any other error is a bug and passes through, which gives status 1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an old code page must not stop what is done over a name
            stream.reconfigure(errors="backslashreplace")
    try:
        app(argv, exit_on_error=False, print_error=False, result_action="return_none")
    except (CycloptsError, UserError) as error:
        return _fail(str(error), WRONG_INPUT)
    except (Cancelled, KeyboardInterrupt) as stop:
        return _fail(str(stop) or "stopped", STOPPED)
    except BrokenPipeError:
        # The reader, such as `head`, has gone; Python must not flush into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _fail(message: str, status: int) -> int:
    print("onemark:", " ".join(message.split()), file=sys.stderr)
    return status
