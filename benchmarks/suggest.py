"""Does the suggested exemplar give a small error? SCP's R against the error of each exemplar.

    python benchmarks/suggest.py DATA RUN --plot docs/images/suggested-exemplars.png

DATA holds images/001.jpg ... and landmarks.csv (ISBI 2015 at 0.25 mm per pixel); RUN is what `benchmarks/ceph.py --out`
or `onemark suggest --out` wrote. The matcher's network is always the run's and only its templates change, so the errors
are the matcher's, without a detector. Labels of the test images only serve for scoring.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

import onemark
from common import describe_machine, link_images, parse_numbers, work_folder
from onemark.imaging.letterbox import Letterbox
from onemark.nn.device import fabric_for
from onemark.nn.training.canvases import CanvasCache
from onemark.nn.weights import read_weights
from onemark.stages.match.cc2d import CC2D
from onemark.stages.select.scp import SCP, SCPConfig
from onemark.stages.select.scp.search import best_of_random, greedy, score

SPACING_MM = 0.25
ALWAYS = "125,126,8,50,99,10"
Table = NDArray[np.float64]
T = TypeVar("T")


def main() -> None:
    """Compare, score and correlate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--train", default="1-150")
    parser.add_argument("--test", default="151-300")
    parser.add_argument("--every", type=int, default=6, help="score every n-th training image as exemplar")
    parser.add_argument("--number", type=int, default=5, help="exemplars that are chosen together")
    parser.add_argument("--draws", type=int, default=10_000, help="random sets, as published")
    parser.add_argument("--plot", type=Path, help="picture to write")
    options = parser.parse_args()
    work, images = work_folder(None), options.data / "images"
    train, test = (
        onemark.open_cohort(link_images(images, [f"{n:03d}.jpg" for n in parse_numbers(text)], work / name))
        for name, text in {"train": options.train, "test": options.test}.items()
    )
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    matcher = CC2D.restore(*read_weights(options.run / "weights.safetensors")["match"], fabric_for())
    print(describe_machine())
    store = CanvasCache(train, matcher.canvas, framing=matcher.config.framing)
    selector = compare_all(matcher, store)
    similar, alone = selector.similar, selector.similar.mean(0).numpy()
    chosen = time_work("greedy", lambda: greedy(similar, options.number))
    draws = torch.Generator().manual_seed(0)
    random = time_work(
        f"best of {options.draws}", lambda: best_of_random(similar, options.number, options.draws, draws)
    )
    print(
        f"R of the greedy set {score(similar, chosen):.4f}, of the best random one {score(similar, random):.4f}"
    )
    spread = list(range(2, len(train), options.every))
    named = [train.names.index(f"{n:03d}.jpg") for n in parse_numbers(ALWAYS) if f"{n:03d}.jpg" in train]
    tried = list(dict.fromkeys([*spread, *chosen, *random, *named]))
    xy, scores, right = locate_all(matcher, store, test, truth, [train.names[n] for n in tried])
    errors = np.linalg.norm(xy - right[:, None], axis=-1) * SPACING_MM
    each = errors.mean((0, 2))
    report(each[: len(spread)], alone[spread], each, [train.names[n] for n in tried], alone[tried])
    sets(xy, scores, right, [tried.index(n) for n in chosen], [tried.index(n) for n in random], len(spread))
    if options.plot:
        plot(alone[spread], each[: len(spread)], alone[chosen[0]], each[tried.index(chosen[0])], options.plot)


def time_work(what: str, work: Callable[[], T]) -> T:
    """Do the work and print how long it took."""
    started, spent = time.perf_counter(), time.process_time()
    result = work()
    print(f"{what}: {time.perf_counter() - started:.1f} s, processor {time.process_time() - spent:.1f} s")
    return result


def compare_all(matcher: CC2D, store: CanvasCache) -> SCP:
    """Compare all radiographs; features and matching are timed together."""
    time_work("reading", lambda: [store.usable(n) for n in range(len(store))])
    time_work("features", lambda: [matcher.embed(store.read([n])) for n in range(len(store))])
    return time_work(
        "features again, key points and matching", lambda: SCP(SCPConfig(), matcher.embed).compare(store)
    )


def locate_all(
    matcher: CC2D, store: CanvasCache, test: onemark.Cohort, truth: onemark.LandmarkTable, names: list[str]
) -> tuple[Table, Table, Table]:
    """Return the truth, and every exemplar's answer `[N, M, K, 2]` in original px with its score `[N, M, K]`."""
    exemplars = onemark.LandmarkTable.from_sets(truth[name] for name in names)
    matcher.names = exemplars.names
    matcher.remember(store, store.place_exemplars(exemplars))
    xy, scores, right = [], [], []
    for radiograph in test.readable():
        frame = Letterbox.fit(radiograph.size, matcher.canvas)
        maps = matcher.embed(frame.render(radiograph.pixels)[None, None])
        peaks = matcher._all_peaks(maps)
        xy.append(frame.to_image(peaks.xy.double().numpy()))
        scores.append(peaks.score.numpy())
        right.append(truth[radiograph.name].xy)
    return np.stack(xy), np.stack(scores), np.stack(right)


def report(spread: Table, r: Table, each: Table, names: list[str], alone: Table) -> None:
    """Print correlations, and every exemplar's R and error."""
    print(f"\n{len(spread)} evenly spread exemplars: MRE {spread.mean():.3f} +- {spread.std(ddof=1):.3f} mm")
    print(
        f"best quarter below {np.quantile(spread, 0.25):.3f}; best {spread.min():.3f}, worst {spread.max():.3f}"
    )
    print(f"R against MRE: Pearson {pearsonr(r, spread)[0]:.3f}, Spearman {spearmanr(r, spread)[0]:.3f}")
    for n in np.argsort(-alone):
        print(f"  {names[n]}  R {alone[n]:.4f}  MRE {each[n]:.3f}")


def sets(xy: Table, scores: Table, right: Table, chosen: list[int], random: list[int], spread: int) -> None:
    """Print the matcher's error with several chosen exemplars and with random ones."""

    def combine(members: list[int]) -> float:
        best = scores[:, members].argmax(1)[:, None, :, None]
        answer = np.take_along_axis(xy[:, members], best, 1)[:, 0]
        return float(np.linalg.norm(answer - right, axis=-1).mean() * SPACING_MM)

    draw = np.random.default_rng(0)
    for count in (1, 3, len(chosen)):
        some = [combine(list(draw.choice(spread, count, replace=False))) for _ in range(50)]
        print(
            f"{count} exemplars: greedy {combine(chosen[:count]):.3f}, random {np.mean(some):.3f} +- "
            f"{np.std(some):.3f} mm, of which {np.mean(np.array(some) < combine(chosen[:count])):.0%} are better"
        )
    print(f"{len(random)} exemplars, the best random set by R: {combine(random):.3f} mm")


def plot(r: Table, each: Table, r_chosen: float, chosen: float, path: Path) -> None:
    """Plot R against the error."""
    import matplotlib.pyplot as plt  # an extra of this script: pip install matplotlib

    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    axes.scatter(r, each, label="exemplars, evenly spread")
    axes.scatter([r_chosen], [chosen], marker="*", s=160, label="suggested")
    axes.set(xlabel="R of SCP", ylabel="MRE of the matcher, mm")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
