"""What the commands are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import onemark
from onemark.cli.options import Training, settings_of
from onemark.progress import Cancelled, Progress, Sink
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.cli.show import Show
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.evaluation.metrics import Scores
    from onemark.pipeline.trainer import Model


@contextlib.contextmanager
def resumable(run_folder: Path) -> Iterator[None]:
    """Let a Cancelled say how to go on."""
    try:
        yield
    except Cancelled:
        raise Cancelled(f"stopped; continue with: onemark resume {run_folder}") from None


def fitted(cohort: Cohort, exemplars: LandmarkTable, out: Path, training: Training, show: Show) -> Model:
    """Train into the run folder `out`."""
    return onemark.fit(
        cohort,
        exemplars,
        recipe=training.recipe,
        minutes=training.minutes,
        out=out,
        device=training.device,
        seed=training.seed,
        settings=settings_of(training.settings),
        progress=announced(show, training.device),
    )


def announced(show: Show, device: str) -> Sink:
    """The sink; when the work begins, it says on what device. By then the input is known to be right."""
    waiting = [device]

    def sink(event: Progress) -> None:
        from onemark.nn.device import describe

        if waiting and not event.message:
            show.say(f"training on {describe(waiting.pop())}")
        show(event)

    return sink


def cohort_of(run_folder: Path, xrays: Path | None, spacing_mm: float | None) -> Cohort:
    """The radiographs that a run learns from: where they were, or in `xrays`.

    Raises:
        UserError: no run there, or no radiographs.
    """
    from onemark.pipeline.runs import RunFolder

    config = RunFolder.open(run_folder).config
    if xrays is None and not Path(config["cohort"]).is_dir():
        raise UserError(
            f"{config['cohort']}, where {run_folder} learned, is gone; say where it is: --xrays FOLDER"
        )
    spacing = config.get("spacing_mm") if spacing_mm is None else spacing_mm
    return onemark.open_cohort(xrays or config["cohort"], spacing_mm=spacing)


def asked_again(run_folder: Path, training: Training) -> None:
    """See that a suggestion's options are what the run of the last one has settled, where there is a run.

    Raises:
        UserError: an option asks for something else.
    """
    from onemark.data.cohort import is_run_folder
    from onemark.pipeline.suggest import settled

    if not is_run_folder(run_folder):
        return
    usual = Training()
    other = settled(
        run_folder,
        recipe=None if training.recipe == usual.recipe else training.recipe,
        minutes=training.minutes,
        seed=None if training.seed == usual.seed else training.seed,
        settings=settings_of(training.settings),
    )
    if other:
        word = f"--set {other[0]}" if "." in other[0] else f"--{other[0]}"
        raise UserError(
            f"{word} does not go with --out {run_folder}, which has settled it otherwise: leave it out, or give another "
            "--out"
        )


def taught(
    run_folder: Path,
    xrays: Path | None,
    exemplar: Path,
    out: Path | None,
    spacing_mm: float | None,
    training: Training,
) -> None:
    """Teach a run its first, more or corrected exemplars; it keeps its recipe, settings and seed.

    Raises:
        UserError: no run there, or an option that the run has settled already.
    """
    from onemark.cli.show import Show

    kept = {"--out": out is not None, "--set": bool(training.settings)}
    kept |= {f"--{name}": getattr(training, name) != getattr(Training(), name) for name in ("recipe", "seed")}
    settled = [name for name, given in kept.items() if given]
    if settled:
        raise UserError(f"{settled[0]} does not go with --resume: {run_folder} has settled it; leave it out")
    cohort = cohort_of(run_folder, xrays, spacing_mm)
    exemplars = onemark.read_landmarks(exemplar, cohort)
    device = None if training.device == "auto" else training.device
    with Show() as show, resumable(run_folder):
        continued(run_folder, cohort, exemplars, training.minutes, device, show)
    print(f"fitted: {run_folder}; mark radiographs with: onemark predict {run_folder} FOLDER")


def continued(
    run_folder: Path,
    cohort: Cohort,
    exemplars: LandmarkTable | None,
    minutes: float | None,
    device: str | None,
    show: Show,
) -> Model:
    """Finish the training, which may be finished already and only the marking left.

    Raises:
        UserError: the run is finished and its radiographs are marked, and there are no new exemplars.
    """
    if exemplars is None and is_trained(run_folder) and not is_marked(run_folder):
        return onemark.load(run_folder, device or "auto")
    return onemark.resume(
        run_folder, cohort=cohort, exemplars=exemplars, minutes=minutes, device=device, progress=show
    )


def is_trained(run_folder: Path) -> bool:
    """Whether the training of a run is finished."""
    from onemark.pipeline.runs import RunFolder

    return bool(RunFolder.open(run_folder).config["state"] == "done")


def is_marked(run_folder: Path) -> bool:
    """Whether the radiographs were marked after the training: the report comes last, after the configuration."""
    report, config = run_folder / "report.html", run_folder / "config.json"
    return report.exists() and report.stat().st_mtime_ns >= config.stat().st_mtime_ns


def finished(
    model: Model, cohort: Cohort, out: Path, show: Show, truth: LandmarkTable | None = None
) -> LandmarkTable:
    """Mark the cohort; write landmarks, overlays and report into the run folder."""
    from onemark.evaluation.report import write_overlays, write_report

    found = model.predict(cohort, progress=show)
    found.to_csv(out / "landmarks.csv")
    write_overlays(out / "overlays", cohort, found, truth=truth, progress=show)
    write_report(
        out / "report.html",
        cohort,
        found,
        truth=truth,
        log=model.log,
        exemplars=model.exemplars,
        problems=show.messages,
        progress=show,
    )
    return found


def marked(found: LandmarkTable, cohort: Cohort, path: Path) -> str:
    """`marked 149 of 150 radiographs: out.csv`."""
    return f"marked {len(found)} of {len(cohort)} radiographs: {path}"


def percent_of_side(
    found: LandmarkTable, truth: LandmarkTable, cohort: Cohort, exclude: Collection[str] = ()
) -> Scores:
    """Scores in percent of each image's mean side, for radiographs of many sizes and no known spacing."""
    common = [image for image in truth.images if image in found]
    percent = {image: 100 / fmean(cohort.header(image).size) for image in common}
    return onemark.evaluate(found, truth, spacing_mm=percent, exclude=exclude, unit="% of the mean side")
