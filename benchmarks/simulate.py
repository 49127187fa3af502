"""A million radiographs on many workers, by a discrete model of `onemark predict --scheduler`: where does it saturate?

    python benchmarks/simulate.py --radiographs 1000000 --workers 1,16,64,256,1024,4096

Workers take parts from one scheduler, which needs a time for each task; read files from one storage, which passes so many
bytes a second to all of them together; decode and predict on a core of their own; and write a part through the storage.
The times are those that benchmarks measured; give others for another network, machine or storage. What is written is
measured here. Nothing else is simulated: no deaths, no slow machines, no other users.
"""

from __future__ import annotations

import argparse
import heapq
import time
from dataclasses import dataclass

import numpy as np

from onemark import LandmarkSet, LandmarkTable
from onemark.archive.rows import Rows

BLOCK = 16
"""Radiographs between two looks at the storage: finer does not change the figures, coarser lets workers queue."""
LANDMARKS = 19


@dataclass(frozen=True)
class Costs:
    """What a radiograph and a task cost.

    Attributes:
        mebibytes: Size of a file.
        request: Seconds from asking the storage for a file to its first byte.
        bandwidth: MiB/s that the storage passes to all workers together.
        decode: Seconds on one core.
        predict: Seconds on one core.
        write: Seconds on one core to make a row set of one radiograph.
        task: Seconds that the scheduler is busy with a task.
        start: Seconds until a worker has loaded the model.
    """

    mebibytes: float
    request: float
    bandwidth: float
    decode: float
    predict: float
    write: float
    task: float = 0.001
    start: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """How a simulation went: all seconds, and the shares of it in which workers, storage and scheduler worked."""

    seconds: float
    workers: float
    storage: float
    scheduler: float


def simulate(radiographs: int, workers: int, shard: int, costs: Costs) -> Outcome:
    """Let workers take one part after the other until none is left."""
    tasks, last = divmod(radiographs, shard)
    sizes = [shard] * tasks + ([last] if last else [])
    worked = storage_used = scheduler_used = 0.0
    scheduler = storage = end = 0.0
    # (free at, worker, radiographs left of its part)
    events = [(costs.start, worker, 0) for worker in range(min(workers, len(sizes)))]
    heapq.heapify(events)
    while events:
        now, worker, left = heapq.heappop(events)
        if not left:
            if not sizes:
                end = max(end, now)
                continue
            left = sizes.pop()
            scheduler = max(scheduler, now) + costs.task
            scheduler_used += costs.task
            now = scheduler
        count = min(BLOCK, left)
        passing = count * costs.mebibytes / costs.bandwidth
        storage = max(storage, now) + passing
        storage_used += passing
        busy = count * (costs.decode + costs.predict + costs.write)
        worked += busy
        done = max(storage, now + count * costs.request) + busy
        heapq.heappush(events, (done, worker, left - count))
    return Outcome(end, worked / end / workers, storage_used / end, scheduler_used / end)


def measure_write() -> float:
    """Seconds for each radiograph of a part to become the text that is written."""
    rng = np.random.default_rng(0)
    names = tuple(f"landmark {n}" for n in range(LANDMARKS))
    sets = [
        LandmarkSet(
            f"{n}.dcm", names, rng.uniform(0, 900, (LANDMARKS, 2)), np.ones(LANDMARKS), np.ones(LANDMARKS)
        )
        for n in range(64)
    ]
    began = time.process_time()
    Rows.of(LandmarkTable.from_sets(sets), None).to_csv()
    return (time.process_time() - began) / len(sets)


def main() -> None:
    """Print a row for each number of workers, and say what stands in the way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--radiographs", type=int, default=1_000_000)
    parser.add_argument("--workers", default="1,16,64,256,1024,4096")
    parser.add_argument("--shard-size", type=int, default=256)
    parser.add_argument("--mebibytes", type=float, default=0.25, help="size of a file")
    parser.add_argument("--request", type=float, default=0.002, help="seconds to the first byte")
    parser.add_argument("--bandwidth", type=float, default=1000.0, help="MiB/s of the storage")
    parser.add_argument("--decode", type=float, default=0.016, help="seconds on one core")
    parser.add_argument("--predict", type=float, default=0.15, help="seconds on one core")
    parser.add_argument("--task", type=float, default=0.001, help="seconds of the scheduler for a task")
    chosen = parser.parse_args()
    write = measure_write()
    costs = Costs(
        chosen.mebibytes, chosen.request, chosen.bandwidth, chosen.decode, chosen.predict, write, chosen.task
    )
    print(costs)
    print(
        "\n| workers | time | radiographs/s | workers busy | storage busy | scheduler busy |\n|---|---|---|---|---|---|"
    )
    for number in map(int, chosen.workers.split(",")):
        one = simulate(chosen.radiographs, number, chosen.shard_size, costs)
        pace = chosen.radiographs / one.seconds
        shares = " | ".join(f"{100 * share:.1f} %" for share in (one.workers, one.storage, one.scheduler))
        print(f"| {number} | {one.seconds / 3600:.2f} h | {pace:.0f} | {shares} |")
    print("\n" + describe_limits(costs, chosen.shard_size, chosen.radiographs))


def describe_limits(costs: Costs, shard: int, radiographs: int) -> str:
    """Say how many workers each of the shared parts carries."""
    each = costs.request + costs.decode + costs.predict + costs.write
    by_storage = costs.bandwidth / costs.mebibytes
    by_scheduler = shard / costs.task
    return (
        f"A worker predicts {1 / each:.1f} radiographs/s. The storage passes {by_storage:.0f} a second, enough for "
        f"{by_storage * each:.0f} workers; the scheduler {by_scheduler:.0f}, enough for {by_scheduler * each:.0f} "
        f"(one radiograph a task: {1 / costs.task * each:.0f}). There are {-(-radiographs // shard)} parts, so more "
        "workers than that have nothing to do."
    )


if __name__ == "__main__":
    main()
