"""The subcommands. Each imports what it needs when it runs, so that `onemark --help` is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import onemark
from onemark.cli.measuring import register_measuring
from onemark.cli.options import (
    DEFAULT_TRAINING,
    ONE_MACHINE,
    Device,
    Exemplar,
    Follow,
    Machines,
    Overwrite,
    RunFolder,
    SafeCsv,
    SpacingMm,
    Swap,
    Training,
    check_new_file,
    parse_settings,
)
from onemark.cli.predicting import register_predicting
from onemark.cli.radiographs import limit_to_run, open_run_cohort
from onemark.cli.scaling import register_scaling
from onemark.cli.show import Show
from onemark.cli.steps import (
    announce_device,
    check_same_options,
    explain_stop,
    find_identity,
    fit_run,
    hold,
    predict_and_report,
    print_predicted,
    print_trained,
    read_table,
    resume_run,
    score_in_percent,
    teach_run,
)
from onemark.types import UserError

app = App(
    name="onemark",
    help="Mark one X-ray; onemark marks the rest.",
    help_format="plaintext",
    version=onemark.__version__,
    # `main` turns Ctrl-C into exit status 130 itself.
    suppress_keyboard_interrupt=False,
)


@app.command
def demo(
    *,
    out: Annotated[
        Path | None, Parameter(help="Folder to create; by default onemark-demo or the next free name.")
    ] = None,
    count: Annotated[int, Parameter(help="Number of synthetic radiographs.")] = 24,
    minutes: Annotated[float, Parameter(help="Time budget of the training, in minutes.")] = 2.0,
    device: Device = "auto",
    seed: Annotated[int, Parameter(help="Seed of the training.")] = 0,
) -> None:
    """Predict the landmarks of synthetic radiographs from one exemplar, and print the error."""
    from onemark.cli.demo import run_demo

    run_demo(out, count, Training(minutes=minutes, device=device, seed=seed))


@app.command
def suggest(
    xrays: Path,
    /,
    *,
    number: Annotated[int, Parameter(help="How many radiographs you are willing to annotate.")] = 1,
    out: Annotated[
        Path | None,
        Parameter(
            help="Run folder to keep what was learned in, for `onemark fit --resume`; it may exist already."
        ),
    ] = None,
    spacing_mm: SpacingMm = None,
    follow: Follow = True,
    training: Training = DEFAULT_TRAINING,
) -> None:
    """Suggest which radiographs to annotate first; needs no landmarks at all.

    Args:
        xrays: Folder of radiographs.
    """
    from onemark.cli.tables import describe_suggestion

    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm, follow_links=follow)
    if out is not None:
        check_same_options(out, training)
    with Show() as show:
        suggestion = onemark.suggest(
            cohort,
            number=number,
            recipe=training.recipe,
            minutes=training.minutes,
            out=out,
            device=training.device,
            seed=training.seed,
            settings=parse_settings(training.settings),
            orient=training.orient,
            progress=announce_device(show, training.device),
        )
    print(*describe_suggestion(suggestion), sep="\n")


@app.command
def ask(
    run_folder: Path,
    /,
    *,
    number: Annotated[int, Parameter(help="How many questions.")] = 20,
    out: Annotated[Path, Parameter(help="CSV to write, to be filled in.")] = Path("questions.csv"),
    xrays: Annotated[Path | None, Parameter(help="Folder of the radiographs, if it has moved.")] = None,
    device: Device = "auto",
    follow: Follow = True,
    overwrite: Overwrite = False,
) -> None:
    """Choose single landmarks whose places teach a run most, and write them as questions.

    Fill in x,y, or `right` or `not visible` as the answer; rows that stay empty are not asked. Then give the file to
    `onemark resume RUN --exemplar FILE`.

    Args:
        run_folder: A trained run.
    """
    from onemark.cli.tables import describe_questions

    check_new_file(out, overwrite)
    cohort = limit_to_run(open_run_cohort(run_folder, xrays, None, follow), run_folder, xrays)
    with Show() as show:
        questions = onemark.ask(run_folder, number=number, cohort=cohort, device=device, progress=show)
    questions.to_csv(out, overwrite=overwrite)
    print(*describe_questions(questions, out), sep="\n")


@app.command
def fit(
    xrays: Path | None = None,
    /,
    *,
    exemplar: Exemplar,
    out: Annotated[Path | None, Parameter(help="Run folder to create.")] = None,
    resume: Annotated[
        Path | None,
        Parameter(
            help="Run to continue instead: one of `onemark suggest`, or one to teach more or corrected exemplars."
        ),
    ] = None,
    spacing_mm: SpacingMm = None,
    follow: Follow = True,
    swap: Swap = None,
    training: Training = DEFAULT_TRAINING,
    machines: Machines = ONE_MACHINE,
) -> None:
    """Train on a folder of radiographs from one exemplar.

    Args:
        xrays: Folder of radiographs; with --resume only where it has moved.
    """
    if resume is not None:
        if machines != ONE_MACHINE:
            raise UserError("--devices and --nodes do not go with --resume: one process continues a run")
        return teach_run(resume, xrays, exemplar, out, spacing_mm, follow, training, swap)
    if xrays is None or out is None:
        missing = "a folder of radiographs" if xrays is None else "--out RUN, the run folder to create"
        raise UserError(f"give {missing}, or --resume RUN to continue a run")
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm, follow_links=follow)
    exemplars = read_table(exemplar, cohort)
    processes = machines.processes()
    with Show() as show, explain_stop(out):
        fit_run(cohort, exemplars, out, training, show, processes, swap)
    if processes.is_first(os.environ):
        print_trained(out)


@app.command
def run(
    xrays: Path,
    /,
    *,
    exemplar: Exemplar,
    out: RunFolder,
    spacing_mm: SpacingMm = None,
    follow: Follow = True,
    swap: Swap = None,
    training: Training = DEFAULT_TRAINING,
    machines: Machines = ONE_MACHINE,
) -> None:
    """Train on a folder, predict the landmarks of all its radiographs and write the report.

    Args:
        xrays: Folder of radiographs.
    """
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm, follow_links=follow)
    exemplars = read_table(exemplar, cohort)
    processes = machines.processes()
    if not processes.is_first(os.environ):
        with Show() as show, explain_stop(out):
            fit_run(cohort, exemplars, out, training, show, processes, swap)
        return
    with Show() as show, explain_stop(out), hold(out, make=True):
        model = fit_run(cohort, exemplars, out, training, show, processes, swap)
        predictions, verdict = predict_and_report(model, cohort, out, show)
    print_predicted(len(predictions), len(cohort), out / "landmarks.csv", verdict)


@app.command
def resume(
    run_folder: Path,
    /,
    *,
    exemplar: Annotated[
        Path | None, Parameter(help="More or corrected exemplars, to teach a finished run.")
    ] = None,
    xrays: Annotated[Path | None, Parameter(help="Folder of the radiographs, if it has moved.")] = None,
    minutes: Annotated[float | None, Parameter(help="Time budget in minutes for what is left to do.")] = None,
    device: Annotated[str | None, Parameter(help="Device to use instead: auto, cpu, cuda or mps.")] = None,
    spacing_mm: SpacingMm = None,
    follow: Follow = True,
    swap: Swap = None,
    machines: Machines = ONE_MACHINE,
) -> None:
    """Continue a run that was stopped or killed, then predict the landmarks of its radiographs.

    Args:
        run_folder: Run folder of `onemark fit` or `onemark run`.
    """
    if swap is not None and exemplar is None:
        raise UserError("--swap goes with --exemplar: a run keeps its left-right pairs")
    cohort = open_run_cohort(run_folder, xrays, spacing_mm, follow)
    exemplars = None if exemplar is None else read_table(exemplar, cohort)
    cohort = limit_to_run(cohort, run_folder, xrays, exemplars)
    processes = machines.processes()
    if not processes.is_first(os.environ):
        with Show() as show, explain_stop(run_folder):
            resume_run(run_folder, cohort, exemplars, minutes, device, show, processes, swap)
        return
    with Show() as show, explain_stop(run_folder), hold(run_folder):
        model = resume_run(run_folder, cohort, exemplars, minutes, device, show, processes, swap)
        predictions, verdict = predict_and_report(model, cohort, run_folder, show)
    print_predicted(len(predictions), len(cohort), run_folder / "landmarks.csv", verdict)


@app.command
def evaluate(
    predictions: Path,
    truth: Path,
    /,
    *,
    spacing_mm: Annotated[
        float | None, Parameter(help="Pixel spacing in mm: score in mm instead of px.")
    ] = None,
    images: Annotated[
        Path | None, Parameter(help="Folder of the radiographs: score in % of each image's mean side.")
    ] = None,
    exclude: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            consume_multiple=False,
            show_default=False,
            help="Image to leave out; may be repeated.",
        ),
    ] = (),
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False,
) -> None:
    """Compare predictions with the truth: mean radial error (MRE) and success detection rates (SDR).

    Args:
        predictions: Landmarks to score.
        truth: True landmarks.
    """
    if images is not None and spacing_mm is not None:
        raise UserError("--spacing-mm scores in mm and --images in % of the image side; give one of them")
    # Tables of other programs need the radiographs' heights to turn y around.
    cohort = None if images is None else onemark.open_cohort(images)
    predicted, true = read_table(predictions, cohort), read_table(truth, cohort)
    if cohort is None:
        scores = onemark.evaluate(predicted, true, spacing_mm=spacing_mm, exclude=exclude)
    else:
        scores = score_in_percent(predicted, true, cohort, exclude)
    for note in scores.notes:
        print(note, file=sys.stderr)
    print(scores.to_json() if json else scores.as_text())


@app.command
def convert(
    source: Path,
    target: Path,
    /,
    *,
    images: Annotated[
        Path | None, Parameter(help="Folder of the radiographs, for sizes and spacing.")
    ] = None,
    spacing_mm: SpacingMm = None,
    follow: Follow = True,
    mm: Annotated[bool, Parameter(negative="", help="CSV: add the columns x_mm,y_mm.")] = False,
    format: Annotated[
        str | None,
        Parameter(
            name=("--format", "--to"),
            help="Format to write: csv, slicer, tps, coco, pts, labelme, yolo or dicom-sr; by default by the suffix.",
        ),
    ] = None,
    y_from_top: Annotated[
        bool, Parameter(negative="", help="TPS: y counts from the top, which is not tpsDig's way.")
    ] = False,
    safe_csv: SafeCsv = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert a landmark file to another format, chosen by the target's suffix or by --format.

    The suffixes are .csv .mrk.json .tps .pts .sr.dcm and .json (COCO). docs/files.md lists what is read.

    Args:
        source: File to read, or a folder of files of one image each.
        target: File to write, or folder for a format of one file for each image.
    """
    from onemark.data.landmarks.convert import choose_format

    check_new_file(target, overwrite)
    chosen = choose_format(target, format)
    if spacing_mm is not None and images is None:
        raise UserError("--spacing-mm is of radiographs: give their folder with --images, too")
    cohort = (
        None if images is None else onemark.open_cohort(images, spacing_mm=spacing_mm, follow_links=follow)
    )
    table = read_table(source, cohort, y_from_top=y_from_top)
    files = onemark.write_landmarks(
        table,
        target,
        cohort=cohort,
        format=format,
        mm=mm,
        overwrite=overwrite,
        safe_csv=safe_csv,
        predicted_by=find_identity(source) if chosen.names_run else "",
    )
    print(*files, sep="\n")


@app.command
def recipes(name: str | None = None, /) -> None:
    """List the recipes, or every setting of one.

    Args:
        name: Recipe to list the settings of.
    """
    from onemark.cli.tables import list_recipes, list_settings
    from onemark.pipeline.recipes import RECIPES

    print(*(list_recipes() if name is None else list_settings(name)), sep="\n")
    for problem in RECIPES.problems:
        print(problem, file=sys.stderr)


@app.command
def doctor() -> None:
    """Say what a bug report needs: versions, device and why, memory, disk, optional parts, folders."""
    from onemark.cli.doctor import examine

    print(*examine(), sep="\n")


register_predicting(app)
register_measuring(app)
register_scaling(app)
