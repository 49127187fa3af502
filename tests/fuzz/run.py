"""Fuzz the readers for long: `python tests/fuzz/run.py [--count 100000] [--seed 0] [TARGET ...]`.

An input that fails is kept in the corpus as `fail-*`; the tests replay the corpus. Rename it to `fixed-*` when it
passes, so that the fault stays tested.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import os
import random
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

# In this process, so that its memory and time are those of the readers.
os.environ.setdefault("ONEMARK_PICTURE_SECONDS", "0")
sys.path.insert(0, str(Path(__file__).parent))

from seeds import CORPUS
from targets import TARGETS, check_of, mutated

SECONDS = 10
"""Of one input; more is a failure."""
MOST_MEMORY = 1 << 30
"""Bytes by which an input may raise the process's peak."""


tried = 0
"""Inputs so far."""


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Say where the readers are while an input takes very long."""
    ended = threading.Event()

    def watch() -> None:
        last = tried
        while not ended.wait(3 * SECONDS):
            if tried == last:
                faulthandler.dump_traceback()
            last = tried

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def fuzz(target: str, count: int, seed: int) -> int:
    """Try mutations of a target's corpus; returns the number of failures."""
    rng = random.Random(f"{target} {seed}")
    inputs = [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]
    failures, kinds, started = 0, set[str](), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, watched():
        check = check_of(target, Path(folder))
        for data in inputs:  # what is loaded and cached on first use is not the input's fault
            with contextlib.suppress(AssertionError):
                check(data)
        for _ in range(count):
            data = mutated(target, rng.choice(inputs), rng)
            fault = failure(check, data)
            if fault:
                failures += 1
                keep(target, data, fault, kinds)
    seconds = time.monotonic() - started
    print(
        f"{target}: {count} inputs, {failures} failures, {seconds:.0f} s, peak {peak() >> 20} MiB", flush=True
    )
    return failures


def failure(check: object, data: bytes) -> str:
    """What went wrong, empty when nothing did."""
    global tried
    tried += 1
    before, started = peak(), time.monotonic()
    try:
        check(data)  # type: ignore[operator]
    except Exception:
        return traceback.format_exc()
    if time.monotonic() - started > SECONDS:
        return f"took {time.monotonic() - started:.0f} s"
    if peak() - before > MOST_MEMORY:
        return f"took {(peak() - before) >> 20} MiB"
    return ""


def keep(target: str, data: bytes, fault: str, kinds: set[str]) -> None:
    """Write the first input of each kind of failure into the corpus, and say what happened."""
    frames = [line for line in fault.splitlines() if line.startswith("  File ")]
    kind = frames[-1] if frames else fault.split()[0]
    if kind not in kinds:
        kinds.add(kind)
        path = CORPUS / target / f"fail-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        print(f"--- {path}\n{fault}", flush=True)


def peak() -> int:
    """Bytes of memory that the process has held at most; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def chosen() -> Iterator[tuple[str, int, int]]:
    """Target, count and seed as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    return ((target, words.count, words.seed) for target in words.targets or TARGETS)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(1 if sum(fuzz(*one) for one in chosen()) else 0)
