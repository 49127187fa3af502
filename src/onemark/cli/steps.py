"""Steps that several commands share: train, continue, predict, report."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import onemark
from onemark.cli.options import Training, parse_settings
from onemark.cli.radiographs import find_run_of, limit_to_run, open_run_cohort
from onemark.data.paths import printable
from onemark.progress import Cancelled, Progress, Sink
from onemark.types import LostRank, UserError

if TYPE_CHECKING:
    from onemark.cli.show import Show
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.evaluation.metrics import Scores
    from onemark.evaluation.verdict import Verdict
    from onemark.imaging.orientation import Pairs
    from onemark.nn.processes import Processes
    from onemark.pipeline.model import Model


@contextlib.contextmanager
def explain_stop(run_folder: Path) -> Iterator[None]:
    """Add how to continue the run to a Cancelled, and to an error of writing once something was learned."""
    try:
        yield
    except UserError as error:
        from onemark.pipeline.runs.folder import status_of

        if isinstance(error, LostRank):
            raise UserError(f"{error}: continue with: onemark resume {run_folder}") from error
        status = status_of(run_folder)
        if not str(error).startswith("cannot write") or status is None or not status.has_learned:
            raise
        raise UserError(
            f"{error}; what was learned is kept, so continue then with: onemark resume {run_folder}"
        ) from error
    except Cancelled:
        raise Cancelled(f"stopped; continue with: onemark resume {run_folder}") from None


def hold(run_folder: Path, *, make: bool = False) -> contextlib.AbstractContextManager[None]:
    """Hold a run folder for all steps of a command: see `onemark.pipeline.runs.locks.locked`."""
    from onemark.pipeline.runs.locks import locked

    return locked(run_folder, make=make)


def read_table(path: Path, cohort: Cohort | None = None, *, y_from_top: bool = False) -> LandmarkTable:
    """Read landmarks, and say on stderr what was left out of them.

    Raises:
        UserError: as `onemark.read_landmarks`.
    """
    from onemark.data.landmarks.formats.base import ReadOptions
    from onemark.data.landmarks.table import read_table

    table = read_table(path, cohort, ReadOptions(y_from_top))
    for note in table.notes:
        print(note, file=sys.stderr)
    return table


def fit_run(
    cohort: Cohort,
    exemplars: LandmarkTable,
    out: Path,
    training: Training,
    show: Show,
    processes: Processes | None = None,
    swap: Path | None = None,
) -> Model:
    """Train into the new run folder `out`."""
    from onemark.nn.processes import ONE

    return onemark.fit(
        cohort,
        exemplars,
        recipe=training.recipe,
        minutes=training.minutes,
        out=out,
        device=training.device,
        seed=training.seed,
        settings=parse_settings(training.settings),
        orient=training.orient,
        swap=() if swap is None else read_pairs(swap),
        processes=processes or ONE,
        progress=announce_device(show, training.device),
    )


def read_pairs(path: Path) -> Pairs:
    """Read the left-right pairs of a schema.

    Raises:
        UserError: the file cannot be read, or it declares no pair.
    """
    from onemark.data.landmarks.schema import read_schema

    pairs = read_schema(path).swap
    if not pairs:
        raise UserError(
            f"{printable(path)} declares no left-right pair: give a CSV file with the columns landmark,label,swap"
        )
    return pairs


def announce_device(show: Show, device: str) -> Sink:
    """Return a sink that names the device at the first event and passes every event on to `show`."""
    # Waiting for the first event keeps stderr to one line when the input is wrong.
    waiting = [device]

    def sink(event: Progress) -> None:
        from onemark.nn.device import describe

        if waiting and not event.message:
            show.say(f"training on {describe(waiting.pop())}")
        show(event)

    return sink


def check_same_options(run_folder: Path, training: Training) -> None:
    """Check that `onemark suggest --out RUN` repeats the options with which the run was made, if there is one.

    Raises:
        UserError: an option differs from the run's.
    """
    from onemark.data.cohort import is_run_folder
    from onemark.pipeline.suggest import settled_differently

    if not is_run_folder(run_folder):
        return
    # A default value looks the same as an option that was left out, so it never counts as a difference.
    usual = Training()
    differing = settled_differently(
        run_folder,
        recipe=None if training.recipe == usual.recipe else training.recipe,
        minutes=training.minutes,
        seed=None if training.seed == usual.seed else training.seed,
        settings=parse_settings(training.settings),
        orient=None if training.orient == usual.orient else training.orient,
    )
    if differing:
        word = "--no-orient" if differing[0] == "orient" else f"--{differing[0]}"
        word = f"--set {differing[0]}" if "." in differing[0] else word
        raise UserError(
            f"{word} differs from the value that {run_folder} was made with: leave it out, or give another --out"
        )


def teach_run(
    run_folder: Path,
    xrays: Path | None,
    exemplar: Path,
    out: Path | None,
    spacing_mm: float | None,
    follow: bool,
    training: Training,
    swap: Path | None,
) -> None:
    """Teach a run its first exemplars, more of them or corrected ones; recipe, settings and seed stay the run's.

    Raises:
        UserError: there is no run, or an option asks for something that the run has fixed.
    """
    from onemark.cli.show import Show

    given = {"--out": out is not None, "--set": bool(training.settings), "--no-orient": not training.orient}
    given |= {
        f"--{name}": getattr(training, name) != getattr(Training(), name) for name in ("recipe", "seed")
    }
    fixed = [name for name, is_given in given.items() if is_given]
    if fixed:
        raise UserError(f"{fixed[0]} does not go with --resume: {run_folder} has its own; leave it out")

    def hint(folder: object) -> str:
        return f"onemark fit {folder} --resume {run_folder}"

    cohort = open_run_cohort(run_folder, xrays, spacing_mm, follow, hint)
    exemplars = read_table(exemplar, cohort)
    cohort = limit_to_run(cohort, run_folder, xrays, exemplars, hint)
    device = None if training.device == "auto" else training.device
    with Show() as show, explain_stop(run_folder):
        resume_run(run_folder, cohort, exemplars, training.minutes, device, show, swap=swap)
    print_trained(run_folder)


def print_trained(run_folder: Path) -> None:
    """Say that the training is done and what comes next."""
    print(f"trained: {run_folder}; predict landmarks with: onemark predict {run_folder} FOLDER")


def resume_run(
    run_folder: Path,
    cohort: Cohort,
    exemplars: LandmarkTable | None,
    minutes: float | None,
    device: str | None,
    show: Show,
    processes: Processes | None = None,
    swap: Path | None = None,
) -> Model:
    """Finish the training; load the model where only the predictions are missing.

    Raises:
        UserError: nothing is left to do: the run has trained and predicted, and there are no new exemplars.
    """
    if exemplars is None and is_trained(run_folder) and not has_predicted(run_folder):
        return onemark.load(run_folder, device or "auto")
    from onemark.nn.processes import ONE

    return onemark.resume(
        run_folder,
        cohort=cohort,
        exemplars=exemplars,
        minutes=minutes,
        device=device,
        swap=None if swap is None else read_pairs(swap),
        processes=processes or ONE,
        progress=show,
    )


def is_trained(run_folder: Path) -> bool:
    """Whether the training of a run is finished."""
    from onemark.pipeline.runs.folder import RunFolder

    return RunFolder.open(run_folder).status().is_trained


def has_predicted(run_folder: Path) -> bool:
    """Whether a run has predicted since it was last trained."""
    from onemark.pipeline.runs.folder import RunFolder

    return RunFolder.open(run_folder).status().predicted


def predict_and_report(
    model: Model, cohort: Cohort, out: Path, show: Show, truth: LandmarkTable | None = None
) -> tuple[LandmarkTable, Verdict | None]:
    """Predict the landmarks of the cohort; write table, overlays and report into the run folder `out`.

    Returns:
        The landmarks, and why they are not usable, or None.

    Raises:
        UserError: nothing could be predicted or written; or the run folder is gone: all is then kept elsewhere.
    """
    from onemark.pipeline.rescue import keep_model
    from onemark.pipeline.runs.folder import RunFolder
    from onemark.pipeline.runs.locks import locked

    with locked(out):
        predictions = model.predict(cohort, progress=show)
        kept = keep_model(model)
        place = out if kept is None else kept[0].path
        verdict = _write_results(model, predictions, cohort, place, show, truth)
        if kept is not None:
            kept[0].note_predicted(cohort)
            raise kept[1]
        # Noted last: a death before this line makes `resume` predict again instead of leaving half of it.
        RunFolder.open(out).note_predicted(cohort)
    return predictions, verdict


def _write_results(
    model: Model,
    predictions: LandmarkTable,
    cohort: Cohort,
    out: Path,
    show: Show,
    truth: LandmarkTable | None,
) -> Verdict | None:
    from onemark.evaluation.report import write_overlays, write_report
    from onemark.measurement.report import add_measurements

    predictions.to_csv(out / "landmarks.csv")
    verdict = judge_run(model, predictions, cohort, out, show.others)
    write_overlays(out / "overlays", cohort, predictions, truth=truth, progress=show)
    write_report(
        out / "report.html",
        cohort,
        predictions,
        truth=truth,
        log=model.log,
        exemplars=model.exemplars,
        problems=show.messages,
        addition=add_measurements(cohort, predictions, model.exemplars),
        verdict=verdict,
        progress=show,
    )
    return verdict


def count_predicted(predicted: int, total: int, path: Path | str) -> str:
    """Say `predicted 149 of 150 radiographs: out.csv`."""
    return f"predicted {predicted} of {total} radiographs: {path}"


def print_predicted(predicted: int, total: int, path: Path, verdict: Verdict | None = None) -> None:
    """Print `count_predicted`; a result that is not usable says that first."""
    counted = count_predicted(predicted, total, path)
    if verdict is None:
        print(counted)
        return
    run = path.parent
    go_on = f"`onemark fit --resume {run} --exemplar {run / 'exemplars.csv'} --minutes {verdict.minutes:g}`"
    print(f"{verdict.headline}. {verdict.explain(go_on)} {counted}")


def judge_run(
    model: Model, predictions: LandmarkTable, cohort: Cohort, run_folder: Path, others: float | None
) -> Verdict | None:
    """Judge what a run has predicted; see `onemark.evaluation.verdict.judge`."""
    from onemark.evaluation.verdict import judge
    from onemark.pipeline.runs.folder import RunFolder

    return judge(
        predictions,
        cohort,
        log=model.log,
        annotated=model.exemplars.annotated().images,
        minutes=RunFolder.open(run_folder).config.minutes,
        others=others,
    )


def find_identity(landmarks: Path) -> str:
    """What predicted the table in a run's folder, as `predict` states it in reports; empty where that is unknown."""
    from onemark.archive.plan import identify_learned
    from onemark.pipeline.trainer import shown_landmarks

    run = find_run_of(landmarks)
    if run is None or not run.status().predicted:  # it has learned more since
        return ""
    try:
        return identify_learned(run, shown_landmarks(run.exemplars()))
    except UserError:  # landmarks outlive the weights that found them
        return ""


def score_in_percent(
    predictions: LandmarkTable, truth: LandmarkTable, cohort: Cohort, exclude: Collection[str] = ()
) -> Scores:
    """Score in percent of each image's mean side, for radiographs of many sizes and no known spacing."""
    common = [image for image in truth.images if image in predictions]
    percent = {image: 100 / fmean(cohort.header(image).size) for image in common}
    return onemark.evaluate(
        predictions, truth, spacing_mm=percent, exclude=exclude, unit="% of the mean side"
    )
