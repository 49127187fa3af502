"""The subcommands. Each imports what it needs when it runs, so that `onemark --help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import onemark
from onemark.cli.options import (
    DEFAULT_TRAINING,
    Device,
    Exemplar,
    Overwrite,
    RunFolder,
    SpacingMm,
    Training,
    new_file,
    settings_of,
)
from onemark.cli.show import Show
from onemark.cli.steps import (
    announced,
    asked_again,
    cohort_of,
    continued,
    finished,
    fitted,
    is_trained,
    marked,
    percent_of_side,
    resumable,
    taught,
)
from onemark.types import UserError

app = App(
    name="onemark",
    help="Mark one X-ray; onemark marks the rest.",
    help_format="plaintext",
    version=onemark.__version__,
    suppress_keyboard_interrupt=False,
)


@app.command
def demo(
    *,
    out: Annotated[Path | None, Parameter(help="Folder to make; onemark-demo or the next free name.")] = None,
    count: Annotated[int, Parameter(help="Number of synthetic radiographs.")] = 24,
    minutes: Annotated[float, Parameter(help="Time budget of the training.")] = 2.0,
    device: Device = "auto",
    seed: Annotated[int, Parameter(help="Seed of the training.")] = 0,
) -> None:
    """Mark a folder of synthetic radiographs from one exemplar and print the error."""
    from onemark.cli.demo import run_demo

    run_demo(out, count, Training(minutes=minutes, device=device, seed=seed))


@app.command
def suggest(
    xrays: Path,
    /,
    *,
    number: Annotated[int, Parameter(help="How many radiographs you are willing to mark.")] = 1,
    out: Annotated[
        Path | None,
        Parameter(
            help="Run folder that keeps what was learned, for `onemark fit --resume`; or one that is there."
        ),
    ] = None,
    spacing_mm: SpacingMm = None,
    training: Training = DEFAULT_TRAINING,
) -> None:
    """Say which radiographs to mark first, before anything is marked.

    Args:
        xrays: Folder of radiographs.
    """
    from onemark.cli.tables import suggestion_lines

    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm)
    if out is not None:
        asked_again(out, training)
    with Show() as show:
        found = onemark.suggest(
            cohort,
            number=number,
            recipe=training.recipe,
            minutes=training.minutes,
            out=out,
            device=training.device,
            seed=training.seed,
            settings=settings_of(training.settings),
            progress=announced(show, training.device),
        )
    print(*suggestion_lines(found), sep="\n")


@app.command
def fit(
    xrays: Path | None = None,
    /,
    *,
    exemplar: Exemplar,
    out: Annotated[Path | None, Parameter(help="Run folder to make.")] = None,
    resume: Annotated[
        Path | None,
        Parameter(
            help="Run to go on from instead: of `onemark suggest`, or one to teach more or corrected exemplars."
        ),
    ] = None,
    spacing_mm: SpacingMm = None,
    training: Training = DEFAULT_TRAINING,
) -> None:
    """Train on a folder of radiographs from one exemplar.

    Args:
        xrays: Folder of radiographs; with --resume only where it has moved.
    """
    if resume is not None:
        return taught(resume, xrays, exemplar, out, spacing_mm, training)
    if xrays is None or out is None:
        missing = "a folder of radiographs" if xrays is None else "--out RUN, the run folder to make"
        raise UserError(f"give {missing}, or --resume RUN to go on from a run")
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm)
    exemplars = onemark.read_landmarks(exemplar, cohort)
    with Show() as show, resumable(out):
        fitted(cohort, exemplars, out, training, show)
    print(f"fitted: {out}; mark radiographs with: onemark predict {out} FOLDER")


@app.command
def predict(
    run_folder: Path,
    xrays: Path,
    /,
    *,
    out: Annotated[Path, Parameter(help="File to write; its suffix says the format.")] = Path(
        "landmarks.csv"
    ),
    device: Device = "auto",
    spacing_mm: SpacingMm = None,
    mm: Annotated[bool, Parameter(negative="", help="Add the columns x_mm,y_mm.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Mark a folder of radiographs with a fitted run.

    Args:
        run_folder: Run folder of `onemark fit` or `onemark run`.
        xrays: Folder of radiographs.
    """
    from onemark.data.landmarks.convert import check_target

    new_file(out, overwrite)
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm)
    check_target(out, cohort, mm=mm, overwrite=overwrite)
    model = onemark.load(run_folder, device)
    with Show() as show:
        if not is_trained(run_folder):
            learned = ", ".join(model.stages)
            show.say(
                f"{run_folder} is not finished: it marks with what it has learned so far ({learned}); "
                f"finish it with: onemark resume {run_folder}"
            )
        found = model.predict(cohort, progress=show)
    onemark.write_landmarks(found, out, cohort=cohort, mm=mm, overwrite=overwrite)
    print(marked(found, cohort, out))


@app.command
def run(
    xrays: Path,
    /,
    *,
    exemplar: Exemplar,
    out: RunFolder,
    spacing_mm: SpacingMm = None,
    training: Training = DEFAULT_TRAINING,
) -> None:
    """Train on a folder, mark all of its radiographs and write the report.

    Args:
        xrays: Folder of radiographs.
    """
    cohort = onemark.open_cohort(xrays, spacing_mm=spacing_mm)
    exemplars = onemark.read_landmarks(exemplar, cohort)
    with Show() as show, resumable(out):
        model = fitted(cohort, exemplars, out, training, show)
        found = finished(model, cohort, out, show)
    print(marked(found, cohort, out / "landmarks.csv"))


@app.command
def resume(
    run_folder: Path,
    /,
    *,
    exemplar: Annotated[
        Path | None, Parameter(help="More or corrected exemplars, to teach a finished run.")
    ] = None,
    xrays: Annotated[Path | None, Parameter(help="Folder of the radiographs, where it has moved.")] = None,
    minutes: Annotated[float | None, Parameter(help="Time budget of what is left to do.")] = None,
    device: Annotated[
        str | None, Parameter(help="Another device than before: auto, cpu, cuda or mps.")
    ] = None,
    spacing_mm: SpacingMm = None,
) -> None:
    """Continue a run that was stopped or killed, then mark its radiographs.

    Args:
        run_folder: Run folder of `onemark fit` or `onemark run`.
    """
    cohort = cohort_of(run_folder, xrays, spacing_mm)
    exemplars = None if exemplar is None else onemark.read_landmarks(exemplar, cohort)
    with Show() as show, resumable(run_folder):
        model = continued(run_folder, cohort, exemplars, minutes, device, show)
        found = finished(model, cohort, run_folder, show)
    print(marked(found, cohort, run_folder / "landmarks.csv"))


@app.command
def evaluate(
    found: Path,
    truth: Path,
    /,
    *,
    spacing_mm: SpacingMm = None,
    images: Annotated[
        Path | None, Parameter(help="Folder of the radiographs: score in % of each image's mean side.")
    ] = None,
    exclude: Annotated[
        tuple[str, ...],
        Parameter(
            negative="", consume_multiple=False, show_default=False, help="Image to leave out; repeatable."
        ),
    ] = (),
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False,
) -> None:
    """Compare landmarks with the truth: mean radial error (MRE) and success detection rates (SDR).

    Args:
        found: Landmarks to judge.
        truth: True landmarks.
    """
    if images is not None and spacing_mm is not None:
        raise UserError("--spacing-mm scores in mm and --images in % of the image side; give one of them")
    cohort = None if images is None else onemark.open_cohort(images)
    ours, true = onemark.read_landmarks(found, cohort), onemark.read_landmarks(truth, cohort)
    if cohort is None:
        scores = onemark.evaluate(ours, true, spacing_mm=spacing_mm, exclude=exclude)
    else:
        scores = percent_of_side(ours, true, cohort, exclude)
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
    mm: Annotated[bool, Parameter(negative="", help="CSV: add the columns x_mm,y_mm.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a landmark file in another format, told by its suffix: .csv .mrk.json .tps .json (COCO).

    Args:
        source: File to read.
        target: File to write.
    """
    new_file(target, overwrite)
    cohort = None if images is None else onemark.open_cohort(images, spacing_mm=spacing_mm)
    table = onemark.read_landmarks(source, cohort)
    files = onemark.write_landmarks(table, target, cohort=cohort, mm=mm, overwrite=overwrite)
    print(*files, sep="\n")


@app.command
def recipes(name: str | None = None, /) -> None:
    """List the recipes, or every setting of one.

    Args:
        name: Recipe to list the settings of.
    """
    from onemark.cli.tables import recipe_lines, setting_lines

    print(*(recipe_lines() if name is None else setting_lines(name)), sep="\n")
