"""suggest: which radiographs to mark first, and a run that goes on with them."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import onemark
from onemark.data.atomic import writing
from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.nn.backbones import pretrained
from onemark.nn.device import choose, fabric_for
from onemark.nn.training.canvases import CanvasCache, learning_pool
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.training.loop import Job, hash_text
from onemark.nn.weights import read_weights, write_weights
from onemark.options import check_budget_and_seed, settings_of
from onemark.pipeline import recipes
from onemark.pipeline.resuming import check_present
from onemark.pipeline.runs import CONFIG, SUGGESTED, RunFolder
from onemark.progress import Sink, silent
from onemark.types import UserError

NO_EXEMPLARS = LandmarkTable((), ())


@dataclass(frozen=True)
class Suggestion:
    """Which radiographs to mark.

    Attributes:
        chosen: The radiographs to mark, the most useful first.
        score: R of these together, 0...1: how similar the key points of all radiographs are to the most similar place
            in them, on average.
        ranking: `(name, R)` of every radiograph compared, marked alone; the best first.
        run: The run folder to go on from with the first exemplar, by `resume`; None where none was asked for.
    """

    chosen: tuple[str, ...]
    score: float
    ranking: tuple[tuple[str, float], ...]
    run: Path | None = None

    def to_csv(self, path: Path | str) -> None:
        """Write a row per radiograph: image, R when marked alone, place among the chosen ones or empty."""
        with writing(Path(path)) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["image", "similarity", "chosen"])
            place = {name: n for n, name in enumerate(self.chosen, 1)}
            rows.writerows([name, f"{value:.6f}", place.get(name, "")] for name, value in self.ranking)


def suggest(
    cohort: Cohort,
    *,
    number: int = 1,
    recipe: str = "onemark",
    minutes: float | None = None,
    out: Path | str | None = None,
    device: str = "auto",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Sink = silent,
) -> Suggestion:
    """Say which radiographs are worth marking (Quan et al., CVPR 2022), before anything is marked.

    The recipe's matcher learns from the radiographs alone. With `out` it is kept, and `resume(out, exemplars=...)` goes
    on from it: nothing is trained twice. An `out` that holds a matcher already is asked without any training.

    Args:
        cohort: The radiographs.
        number: How many to mark.
        recipe: Name of a recipe whose matcher learns without exemplars.
        minutes: Time budget of the matcher's training; without it the recipe's number of steps.
        out: Run folder to make, or one that is there.
        device: `auto`, `cpu`, `cuda` or `mps`.
        seed: The same seed gives the same suggestion on the same CPU.
        settings: `slot.field` -> value; `select.field` for the selector.
        progress: Takes the progress; raising Cancelled in it stops the work, resumable by the same call when there is
            a run folder.

    Raises:
        UserError: something in the input is wrong, or the recipe's matcher needs an exemplar.
        Cancelled: `progress` asked to stop.
    """
    check_budget_and_seed(minutes, seed)
    if not 1 <= number <= len(cohort):
        raise UserError(
            f"--number must be between 1 and {len(cohort)}, the radiographs there are, not {number}"
        )
    there = out is not None and (Path(out) / CONFIG).exists()
    if there:
        run: RunFolder | None = RunFolder.open(out or "")
        config = _opened(run, cohort, device) if run else {}
    else:
        config = _config(cohort, recipe, minutes, device, seed, settings, progress)
        run = None if out is None else RunFolder.create(out, config)
    chosen = _alone(config["recipe"])
    with run.discarded() if run and not there else nullcontext():
        matcher = _matcher(chosen, cohort, config, run, progress)
    options = chosen.selecting(config["settings"] | dict(settings or {}))
    pool = learning_pool(cohort, NO_EXEMPLARS, options.pool)
    store = CanvasCache(pool, matcher.canvas, progress, matcher.config.framing)
    selector = chosen.selector(options, matcher.reader).compare(store, progress)
    draws = torch.Generator().manual_seed(hash_text(f"{config['seed']}/select"))
    choice = selector.choose(number, draws)
    found = Suggestion(choice.chosen, choice.score, choice.ranking, run.path if run else None)
    if run is not None:
        found.to_csv(run.path / "suggestion.csv")
    return found


def _config(
    cohort: Cohort,
    recipe: str,
    minutes: float | None,
    device: str,
    seed: int,
    settings: Mapping[str, Any] | None,
    progress: Sink,
) -> dict[str, Any]:
    """What `config.json` of a new run holds; its budget is the whole fit's, of which the matcher's share is spent now."""
    chosen = _alone(recipe)
    total = None if minutes is None else _total(minutes, chosen)
    configs = chosen.configure(settings, total) | {"select": chosen.selecting(settings)}
    pretrained.check({"match": configs["match"]}, progress)
    return {
        "onemark": onemark.__version__,
        "recipe": recipe,
        "settings": _spelled(configs),
        "seed": seed,
        "device": choose(device),
        "minutes": total,
        "cohort": str(cohort.folder.resolve()),
        "spacing_mm": cohort.spacing_mm,
        "state": SUGGESTED,
        "done": {},
        "warm": [],
        "radiographs": list(cohort.names),
    }


def _alone(recipe: str) -> recipes.Recipe:
    chosen = recipes.get(recipe)
    if not getattr(chosen.slots["match"], "learns_alone", False):
        raise UserError(
            f"the matcher of recipe {recipe} learns nothing before a radiograph is marked: choose recipe onemark or scp"
        )
    return chosen


def _opened(run: RunFolder, cohort: Cohort, device: str) -> dict[str, Any]:
    """The configuration of a run that is there.

    Raises:
        UserError: it is of another folder; or its matcher has not learned and its exemplars are placed already: that is
            for `resume`.
    """
    learned = Path(run.config["cohort"])
    if not learned.is_dir():  # it may have moved
        check_present(run, cohort, run.config.get("radiographs", ()))
    elif not learned.samefile(cohort.folder):
        raise UserError(
            f"{run.path} is of the radiographs in {learned}, not of those in {cohort.folder}: give that folder, or "
            "another --out"
        )
    if not run.weights.exists() and (run.path / "exemplars.csv").exists():
        raise UserError(
            f"{run.path} has its exemplar but no matcher yet: finish it with `onemark resume {run.path}`"
        )
    return run.config | {"device": choose(device)}


def same_matcher(
    run: Path | str,
    *,
    recipe: str = "onemark",
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> bool:
    """Whether a run's matcher is the one that a fit with these wishes would have, so that it need not learn again.

    Args:
        run: A run folder; anything else has no matcher.
        recipe: Name of a recipe.
        minutes: Time budget of the whole fit.
        settings: `slot.field` -> value.

    Raises:
        UserError: an unknown recipe, or a wrong setting.
    """
    wanted = recipes.get(recipe)
    options = settings_of(wanted.configure(settings, minutes)["match"])
    try:
        config = RunFolder.open(run).config
    except UserError:
        return False
    there = recipes.RECIPES.get(config["recipe"])
    if there is None or there.slots["match"] is not wanted.slots["match"]:
        return False
    return all(config["settings"].get(f"match.{name}") == value for name, value in options.items())


def settled(
    run: Path | str,
    *,
    recipe: str | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[str]:
    """Which of these wishes for a suggestion a run has settled otherwise, so that it would pass over them.

    Args:
        run: A run folder of `suggest`.
        recipe: Name of a recipe, where one is wished for.
        minutes: Time budget of the matcher's training.
        seed: The seed.
        settings: `slot.field` -> value; the selector's are free.

    Returns:
        `recipe`, `minutes`, `seed` or names of settings; none where the run is what is wished for.

    Raises:
        UserError: no such run, an unknown recipe, or a wrong setting.
    """
    config = RunFolder.open(run).config
    chosen = recipes.get(config["recipe"])
    if recipe not in (None, chosen.name):
        return ["recipe"]
    total = None if minutes is None else _total(minutes, chosen)
    wanted = _spelled(chosen.configure(settings, config["minutes"]))
    fixed = [name for name in settings or {} if not name.startswith("select.")]
    differ = {"minutes": total not in (None, config["minutes"]), "seed": seed not in (None, config["seed"])}
    differ |= {name: wanted[name] != config["settings"].get(name) for name in fixed}
    return [name for name, other in differ.items() if other]


def adopt(
    run: Path | str,
    *,
    recipe: str = "onemark",
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Sink = silent,
) -> None:
    """Give a run that waits for its first exemplar these wishes for what follows its matcher; `resume` keeps to them.

    Args:
        run: A run folder of `suggest`.
        recipe: Name of a recipe with the same matcher: see `same_matcher`.
        minutes: Time budget of the whole fit, what the matcher has had included.
        settings: `slot.field` -> value.
        progress: Is told what has to be fetched.

    Raises:
        UserError: no such run, another matcher, or something in the wishes is wrong.
    """
    folder = RunFolder.open(run)
    if folder.config["state"] != SUGGESTED:
        raise UserError(f"{folder.path} has its exemplars already: go on with it by `onemark resume`")
    if not same_matcher(run, recipe=recipe, minutes=minutes, settings=settings):
        raise UserError(f"{folder.path} has another matcher than these wishes ask for: fit in another folder")
    chosen = recipes.get(recipe)
    configs = chosen.configure(settings, minutes)
    if "refine" in configs:
        chosen.slots["refine"].check(configs)
    pretrained.check(configs, progress)
    configs["select"] = chosen.selecting(settings)
    folder.update(recipe=recipe, minutes=minutes, settings=_spelled(configs))


def matcher_share(recipe: recipes.Recipe) -> float:
    """The part of a time budget that a recipe's matcher gets, 0...1."""
    return recipe.shares["match"] / sum(recipe.shares[slot] for slot in recipe.slots)


def _total(minutes: float, recipe: recipes.Recipe) -> float:
    """The budget of a whole fit whose matcher has these minutes."""
    return round(minutes / matcher_share(recipe), 9)


def _spelled(configs: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{slot}.{k}": v for slot, c in configs.items() for k, v in settings_of(c).items()}


def _matcher(
    recipe: recipes.Recipe, cohort: Cohort, config: dict[str, Any], run: RunFolder | None, sink: Sink
) -> Any:
    """The run's matcher; it learns first where it has not."""
    stage, fabric = recipe.slots["match"], fabric_for(config["device"])
    saved = read_weights(run.weights) if run and run.weights.exists() else {}
    if "match" in saved:
        return stage.restore(*saved["match"], fabric)
    checkpoint = None if run is None else Checkpoint(run.checkpoint)
    head = checkpoint.head() if checkpoint else {}
    seconds = None if config["minutes"] is None else config["minutes"] * 60 * matcher_share(recipe)
    deadline = None if seconds is None else time.monotonic() + seconds - head.get("spent", 0.0)
    job = Job(fabric, config["seed"], sink, checkpoint, head.get("log", []), deadline)
    started, options = time.monotonic(), recipe.configure(config["settings"])["match"]
    matcher = stage.fit(NO_EXEMPLARS, cohort, options, job, seconds)
    spent = head.get("spent", 0.0) + time.monotonic() - started
    if run is not None and checkpoint is not None:
        write_weights(run.weights, {"match": matcher.state()})
        run.write_log(job.log)
        run.update(done={"match": spent})
        checkpoint.remove()
    return matcher
