"""What an archive costs: memory and time of many radiographs, listing a folder, and going on after kills.

    python benchmarks/archive.py flat --count 20000      # memory, and the last 1,000 against the first
    python benchmarks/archive.py list --count 100000     # open_cohort, and a manifest of --manifest paths
    python benchmarks/archive.py kill --times 20         # SIGKILL at random moments, then the same command again
    python benchmarks/archive.py dask --count 2000       # two workers against one process with two threads

Everything is synthetic and lies in a temporary folder. All but `dask` takes one thread.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
import torch

import onemark
from onemark.archive.cluster import predict_on_cluster
from onemark.archive.job import predict_into
from onemark.archive.options import PredictOptions
from onemark.phantom import write_phantom_cohort
from onemark.progress import Progress

MEBI = 1 << 20
QUICK = {"match.area": 4096, "match.batch": 2, "match.steps": 2}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("flat", "list", "kill", "dask"))
    parser.add_argument("--count", type=int, default=1000, help="radiographs")
    parser.add_argument("--manifest", type=int, default=0, help="paths of a list, for `list`")
    parser.add_argument("--times", type=int, default=20, help="kills, for `kill`")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.what == "flat":
            measure_flat(folder, chosen.count)
        elif chosen.what == "list":
            measure_listing(folder, chosen.count, chosen.manifest)
        elif chosen.what == "dask":
            measure_dask(folder, chosen.count)
        else:
            measure_kills(folder, chosen.count, chosen.times, random.Random(chosen.seed))


def make_run(folder: Path, count: int) -> tuple[Path, Path]:
    """A run of `match-only` that has hardly trained, and a folder of `count` links to 24 phantoms of 128 px."""
    truth = write_phantom_cohort(folder / "phantoms", 24, size=(128, 128))
    cohort = onemark.open_cohort(folder / "phantoms")
    exemplar = onemark.LandmarkTable.from_sets([truth[cohort.names[0]]])
    onemark.fit(cohort, exemplar, recipe="match-only", out=folder / "run", device="cpu", settings=QUICK)
    (folder / "many").mkdir()
    for index in range(count):
        os.link(cohort.path(cohort.names[index % 24]), folder / "many" / f"{index}.png")
    return folder / "run", folder / "many"


def measure_flat(folder: Path, count: int) -> None:
    """Print memory and processor time per radiograph at the start and at the end of one prediction."""
    run, many = make_run(folder, count)
    process, marks = psutil.Process(), list[tuple[int, float, float]]()
    window = min(1000, count // 4)

    def sink(event: Progress) -> None:
        if event.preview and event.step in (1, window, count - window, count):
            marks.append((event.step, time.process_time(), process.memory_info().rss / MEBI))

    model, cohort = onemark.load(run, "cpu"), onemark.open_cohort(many)
    predict_into(folder / "out.csv", model, cohort, progress=sink)
    (_, begin, _), (_, first, early), (_, before, _), (_, end, late) = marks
    print(f"{count} radiographs of 128 px, match-only, one thread")
    print(f"memory after {window}: {early:.0f} MiB; in the end: {late:.0f} MiB; + {late - early:.0f} MiB")
    print(f"first {window}: {1000 * (first - begin) / window:.2f} ms each; ", end="")
    print(f"last {window}: {1000 * (end - before) / window:.2f} ms each; ", end="")
    print(f"ratio {(end - before) / (first - begin):.2f}")


def measure_listing(folder: Path, count: int, listed: int) -> None:
    """Print time and memory of `open_cohort` on a folder, and on a list."""
    for index in range(count):
        inside = folder / "many" / f"{index // 1000}"
        if index % 1000 == 0:
            inside.mkdir(parents=True)
        (inside / f"patient-{index}.png").touch()
    report_opening(folder / "many", f"{count} files")
    if listed:
        with (folder / "list.txt").open("w") as stream:
            stream.writelines(f"/archive/{i // 1000}/patient-{i}/lateral.dcm\n" for i in range(listed))
        report_opening(folder / "list.txt", f"a list of {listed}")


def report_opening(place: Path, what: str) -> None:
    """Open in a process of its own, so that memory counts from nothing."""
    code = (
        "import sys, time, psutil, onemark; onemark.open_cohort; rss = psutil.Process().memory_info; a = rss().rss; "
        "t = time.process_time(); c = onemark.open_cohort(sys.argv[1]); "
        f"print(f'{{time.process_time() - t:.1f}} s of processor, + {{(rss().rss - a) / {MEBI}:.0f}} MiB, {{len(c)}}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=True
    )
    print(f"open_cohort, {what}: {done.stdout.strip()}")


def measure_kills(folder: Path, count: int, times: int, chance: random.Random) -> None:
    """Kill a prediction at random moments, go on, and compare the table with that of an unbroken one."""
    run, many = make_run(folder, count)
    words = [sys.executable, "-m", "onemark", "predict", str(run), str(many), "--shard-size", "16", "--out"]
    began = time.monotonic()
    subprocess.run([*words, str(folder / "whole.csv")], check=True, capture_output=True)
    seconds, equal, killed = time.monotonic() - began, 0, 0
    for number in range(times):
        out = folder / f"{number}.csv"
        process = subprocess.Popen([*words, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, seconds))
        killed += process.poll() is None
        process.kill()
        process.wait()
        if not out.exists():
            subprocess.run([*words, str(out)], check=True, capture_output=True)
        equal += out.read_bytes() == (folder / "whole.csv").read_bytes()
    print(
        f"{count} radiographs: {killed} of {times} were killed; {equal} of {times} tables equal the unbroken one"
    )


def measure_dask(folder: Path, count: int) -> None:
    """Print radiographs per second of one process with two threads, of two workers, and with a worker killed."""
    run, many = make_run(folder, count)
    cohort, options = onemark.open_cohort(many), PredictOptions(shard_size=32)
    torch.set_num_threads(2)
    began = time.monotonic()
    predict_into(folder / "alone.csv", onemark.load(run, "cpu"), cohort, options)
    alone = count / (time.monotonic() - began)
    marks: list[tuple[float, int]] = []

    def watch(event: Progress) -> None:
        marks.append((time.monotonic(), event.step))

    predict_on_cluster(run, cohort, folder / "two.csv", options, workers=2, device="cpu", progress=watch)
    # From the first part on: starting workers is a matter of seconds, once.
    at, first = next((at, step) for at, step in marks if step)
    end = next(at for at, step in marks if step == count)
    two = (count - first) / max(end - at, 1e-9)
    killed: list[int] = []

    def kill(event: Progress) -> None:
        if event.step and not killed:
            killed.append(kill_worker())

    predict_on_cluster(run, cohort, folder / "killed.csv", options, workers=2, device="cpu", progress=kill)
    whole = (folder / "alone.csv").read_bytes()
    equal = [(folder / name).read_bytes() == whole for name in ("two.csv", "killed.csv")]
    print(f"one process, two threads: {alone:.1f} radiographs/s; two workers: {two:.1f}, {two / alone:.2f} x")
    print(f"tables equal: two workers {equal[0]}, one of them killed {equal[1]}")


def kill_worker() -> int:
    """Kill one of the worker processes that this one has started; return its id."""
    for child in psutil.Process().children(recursive=True):
        if any("spawn_main" in word for word in child.cmdline()):
            child.kill()
            return child.pid
    raise SystemExit("no worker found")


if __name__ == "__main__":
    main()
