"""What a GPU changes, in under 12 minutes: accuracy in short budgets, published recipes, batches, bfloat16.

    python benchmarks/gpu.py DATA            # DATA as for ceph.py
    python benchmarks/gpu.py --try           # phantoms, a CPU and seconds: shows that the script runs, and nothing else

(a) The default recipe for 1, 3 and 5 minutes: error on test images. (b) As many steps of the published recipes as a
share of a minute holds, from random weights. (c) Radiographs per second of the detector's network at batch 1, 8 and 64,
and of decoding and of a whole prediction, one at a time. (d) (c) in bfloat16 against float32, and how far points move.
What there is no time for is named and left out. The last line is JSON, for the record.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import onemark
from common import describe_machine
from onemark import Cohort, LandmarkTable, Model
from onemark.imaging.letterbox import Letterbox
from onemark.options import settings_of
from onemark.phantom import write_phantom_cohort
from onemark.pipeline.recipes import get_recipe

SPACING_MM = 0.25
PUBLISHED = ("cc2d", "edgetrans", "sla-atd")
BATCHES = (1, 8, 64)
SMALL = {"area": 4096, "batch": 2, "steps": 2}
TINY = {f"{slot}.{key}": value for slot in ("match", "detect") for key, value in SMALL.items()}


@dataclass
class Job:
    """What is measured, on what, and until when.

    Attributes:
        train: Radiographs to learn from.
        test: Radiographs to score on.
        truth: Their landmarks.
        exemplar: The one that is annotated.
        device: As for `onemark.fit`.
        seconds: Time for everything.
        is_try: Whether nothing but the script itself is tried.
        minutes: Budgets of the default recipe.
        failed: Whether a part ended with an error.
        results: The figures.
        started: `time.monotonic()` of the start.
    """

    train: Cohort
    test: Cohort
    truth: LandmarkTable
    exemplar: str
    device: str
    seconds: float
    is_try: bool
    minutes: tuple[float, ...] = ()
    failed: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def fits(self, name: str, seconds: float) -> bool:
        """Whether there is time for a part; says so where there is not."""
        left = self.seconds - (time.monotonic() - self.started)
        if left < seconds:
            print(f"{name}: left out, it takes about {seconds:.0f} s and {left:.0f} s are left")
        return left >= seconds

    def note(self, name: str, value: Any, line: str) -> None:
        """Keep a figure, and print it."""
        self.results[name] = value
        print(f"{name}: {line}", flush=True)

    def fit(self, recipe: str, minutes: float | None, settings: dict[str, Any]) -> Model:
        """Learn from the exemplar."""
        exemplars = LandmarkTable.from_sets([self.truth[self.exemplar]])
        return onemark.fit(
            self.train, exemplars, recipe=recipe, minutes=minutes, device=self.device, settings=settings
        )


def main() -> None:
    """Measure everything that there is time for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", help="folder with images/ and landmarks.csv")
    parser.add_argument("--exemplar", type=int, default=125, help="number of the exemplar")
    parser.add_argument("--test", type=int, default=60, help="test images that are scored")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=[1, 3, 5], help="budgets of the default recipe"
    )
    parser.add_argument("--seconds", type=float, default=700.0, help="time for everything")
    parser.add_argument("--default-alone", action="store_true", help="leave the published recipes out")
    parser.add_argument("--try", dest="is_try", action="store_true", help="phantoms and a few seconds")
    options = parser.parse_args()
    if options.data is None and not options.is_try:
        parser.error("give DATA, or --try")
    with tempfile.TemporaryDirectory() as folder:
        job = prepare_phantoms(Path(folder)) if options.is_try else prepare(options)
        print(describe_machine())
        model = measure_budgets(job)
        if model is not None:
            with told(job, "batches"):
                measure_batches(job, model)
        if not options.default_alone:
            measure_published(job)
    print(json.dumps(job.results))
    sys.exit(job.failed)


def prepare(options: argparse.Namespace) -> Job:
    """The cephalograms: 150 to learn from, the first test images to score on."""
    cohort = onemark.open_cohort(options.data / "images", spacing_mm=SPACING_MM)
    train = cohort.subset(f"{n:03d}.jpg" for n in range(1, 151))
    test = cohort.subset(f"{n:03d}.jpg" for n in range(151, 151 + options.test))
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    name = f"{options.exemplar:03d}.jpg"
    minutes = tuple(options.minutes)
    return Job(train, test, truth, name, options.device, options.seconds, is_try=False, minutes=minutes)


def prepare_phantoms(folder: Path) -> Job:
    """Eight phantoms of 64 px on the CPU."""
    truth = write_phantom_cohort(folder / "phantoms", 8, size=(64, 64))
    cohort = onemark.open_cohort(folder / "phantoms")
    return Job(cohort, cohort, truth, cohort.names[0], "cpu", 600.0, is_try=True)


def measure_budgets(job: Job) -> Model | None:
    """(a) The default recipe in short budgets; returns the last model."""
    model = None
    for minutes in (None,) if job.is_try else job.minutes:
        name = "default recipe" if minutes is None else f"default recipe, {minutes:g} min"
        if not job.fits(name, 60 * (minutes or 0.1) + 30):
            continue
        recipe, settings = ("match-detect", TINY) if minutes is None else ("onemark", {})
        with told(job, name):
            model = job.fit(recipe, minutes, settings)
            began = time.monotonic()
            predictions = model.predict(job.test)
            each = (time.monotonic() - began) / len(job.test)
            scores = onemark.evaluate(predictions, job.truth, spacing_mm=SPACING_MM).overall
            steps = {entry["stage"]: (entry["step"], round(entry["seconds"], 1)) for entry in model.log}
            value = {"mre_mm": scores.mean, "sdr": scores.sdr, "predict_s": each, "steps, s": steps}
            job.note(
                name, value, f"MRE {scores.mean:.3f} mm, {each:.3f} s per radiograph to predict, {steps}"
            )
    return model


def measure_published(job: Job) -> None:
    """(b) Steps per second of the published recipes, from random weights."""
    for recipe in PUBLISHED:
        if not job.fits(recipe, 40):
            continue
        configs = get_recipe(recipe).configure()
        settings: dict[str, Any] = {
            f"{slot}.weights": "none" for slot, config in configs.items() if "weights" in settings_of(config)
        }
        if job.is_try:
            settings |= {f"{slot}.steps": 1 for slot in configs} | {f"{slot}.area": 64**2 for slot in configs}
            settings |= {f"{slot}.batch": 2 for slot in configs}
            if "patch" in settings_of(configs["match"]):
                settings["match.patch"] = 32  # fits on the canvas of a phantom
        with told(job, recipe):
            model = job.fit(recipe, None if job.is_try else 0.4, settings)
            value = {stage: pace_of(model, stage) for stage in {entry["stage"]: 0 for entry in model.log}}
            shown = ", ".join(f"{stage} {pace:.2f} steps/s" for stage, pace in value.items())
            job.note(recipe, value, shown)


def pace_of(model: Model, stage: str) -> float:
    """Steps per second in the later half of a stage's training, when libraries have been loaded and kernels chosen."""
    steps = [(entry["step"], entry["seconds"]) for entry in model.log if entry["stage"] == stage]
    (first, began), (last, ended) = steps[(len(steps) - 1) // 2], steps[-1]
    return last / ended if last == first else (last - first) / (ended - began)


@contextlib.contextmanager
def told(job: Job, name: str) -> Any:
    """Name what a part lacks here, and go on with the next one."""
    try:
        yield
    except onemark.UserError as error:
        job.note(name, str(error), f"not measured: {error}")
    except Exception as error:  # device time is dear: one fault must not cost the other figures
        traceback.print_exc()
        job.failed = True
        job.note(name, repr(error), "failed")


def measure_batches(job: Job, model: Model) -> None:
    """(c) and (d) Radiographs per second, by batch and by precision."""
    reader = model.stages["detect"].reader
    device, network = reader.fabric.device, reader.module.eval().to(memory_format=torch.channels_last)
    shown = [job.test[i % len(job.test)] for i in range(1 if job.is_try else 64)]
    frames = [Letterbox.fit(one.size, reader.canvas, reader.stretch).render(one.pixels) for one in shown]
    answers = {}
    for precision in (torch.float32, torch.bfloat16):
        name = str(precision).removeprefix("torch.")
        for batch in BATCHES:
            canvases = torch.stack([frames[i % len(frames)] for i in range(batch)])[:, None].to(device)
            canvases = canvases.contiguous(memory_format=torch.channels_last)

            def predict(canvases: torch.Tensor = canvases, kind: torch.dtype = precision) -> torch.Tensor:
                with torch.inference_mode(), torch.autocast(device.type, kind, kind != torch.float32):
                    found: torch.Tensor = network(canvases)
                return found

            pace = batch / seconds_of(predict, device, job.is_try)
            answers[name] = centres(predict())
            job.note(f"network, batch {batch}, {name}", pace, f"{pace:.1f} radiographs/s")
    moved = float((answers["bfloat16"] - answers["float32"]).norm(dim=-1).max())
    job.note("bfloat16 against float32", moved, f"centres of the heatmaps move by {moved:.4f} cells at most")
    decode = seconds_of(lambda: job.test[0], None, job.is_try)
    job.note("decoding", 1 / decode, f"{1 / decode:.1f} radiographs/s on one thread")
    whole = seconds_of(lambda: model.predict_one(shown[0]), device, job.is_try)
    job.note("whole prediction", 1 / whole, f"{1 / whole:.1f} radiographs/s, one at a time")


def centres(maps: torch.Tensor) -> torch.Tensor:
    """Centres of mass `[B, K, 2]` of softmax heatmaps `[B, K, h, w]`, in cells."""
    share = maps.float().flatten(2).softmax(-1).view(maps.shape).cpu()
    y, x = (torch.arange(length, dtype=torch.float32) for length in maps.shape[-2:])
    return torch.stack([(share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)], -1)


def seconds_of(act: Callable[[], Any], device: torch.device | None, once: bool) -> float:
    """Median seconds of an act, on a warm device that has finished."""
    times = []
    for turn in range(1 if once else 12):
        began = time.perf_counter()
        act()
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize()
        if once or turn > 1:
            times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    main()
