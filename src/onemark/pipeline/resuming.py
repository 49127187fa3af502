"""What `resume` finds out of a run folder before it changes anything there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onemark.data.cohort import Cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.nn.training.checkpoint import Checkpoint
from onemark.nn.weights import read_weights
from onemark.pipeline import recipes
from onemark.pipeline.runs import SUGGESTED, RunFolder
from onemark.types import LandmarkSet, UserError

WARM_MINUTES = 1.0


def to_finish(folder: RunFolder, minutes: float | None) -> dict[str, Any]:
    """What changes in `config.json` of a run that is finished, by the minutes that the rest may take.

    Raises:
        UserError: it is finished already, or waits for an exemplar.
    """
    if folder.config["state"] == SUGGESTED:
        raise UserError(
            f"{folder.path} waits for its first exemplar: mark a radiograph and give it with --exemplar"
        )
    if folder.config["state"] == "done":
        raise UserError(
            f"{folder.path} is finished: teach it more with --exemplar, or mark radiographs with it"
        )
    if minutes is None:
        return {}
    head = unfinished(Checkpoint(folder.checkpoint), folder.config)
    return {"minutes": minutes + (sum(folder.config["done"].values()) + head.get("spent", 0.0)) / 60}


def to_teach(folder: RunFolder, names: tuple[str, ...], minutes: float | None) -> dict[str, Any]:
    """What changes in `config.json` of a run that learns from its first, more or corrected exemplars.

    A run that was finished once may be taught anew while that teaching is unfinished: its model is whole.

    Args:
        folder: The run.
        names: The landmarks that all of its exemplars show then.
        minutes: The time to learn from them, where it is given.

    Raises:
        UserError: its first training is not finished, or its matcher is of other landmarks.
    """
    config = folder.config
    begun = config["state"] not in (SUGGESTED, "done")
    if begun and "fingerprints" not in config:
        raise UserError(
            f"{folder.path} is not finished, and only a finished run can be taught more: finish it with "
            f"`onemark resume {folder.path}` first, or fit in another folder"
        )
    saved = read_weights(folder.weights) if folder.weights.exists() else {}
    matcher = recipes.get(config["recipe"]).slots["match"]
    if "match" in saved and hasattr(matcher, "check_names"):
        matcher.check_names(tuple(saved["match"][1]["names"]), names)
    if minutes is None:
        minutes = _rest(config) if config["state"] == SUGGESTED else WARM_MINUTES
        minutes = config["minutes"] if begun else minutes
    return {"done": {}, "warm": list(saved), "minutes": minutes}


def check_present(folder: RunFolder, cohort: Cohort, names: Sequence[str]) -> None:
    """See that radiographs of a run are there.

    Raises:
        UserError: the cohort lacks some.
    """
    gone = [name for name in names if name not in cohort]
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise UserError(
            f"{cohort.folder} lacks {gone[0]!r}{more}, from which {folder.path} learns: put back what is gone, or "
            "give the folder where its radiographs are now"
        )


def exactly(folder: RunFolder, cohort: Cohort) -> Cohort:
    """The radiographs that an unfinished run learns from: pseudo-labels in its checkpoint go by their order.

    Raises:
        UserError: one of them is gone.
    """
    names = folder.config.get("radiographs", cohort.names)
    check_present(folder, cohort, names)
    return cohort.subset(names)


def learned_from(folder: RunFolder, cohort: Cohort, further: Sequence[str]) -> Cohort:
    """Of all radiographs in a run's folder those that it learned from, for it may have been a part, and further ones.

    Those that are gone may be: what needs them says so.
    """
    names = folder.config.get("radiographs", cohort.names)
    wanted = {*names, *map(cohort.resolve, further)}
    return cohort.subset(name for name in cohort.names if name in wanted)


def merged(known: LandmarkTable, corrected: LandmarkTable) -> LandmarkTable:
    """The exemplars of a run and more or corrected ones, with landmarks in the run's order and new ones after them.

    What a network has learned of landmarks lies in that order.
    """
    if not len(known):
        return corrected
    both = known.merged(corrected)
    order = sorted(both.names, key=lambda name: (*known.names, name).index(name))
    at = [both.names.index(name) for name in order]
    return LandmarkTable.from_sets(
        (LandmarkSet(one.image, tuple(order), one.xy[at]) for one in both), both.source
    )


def aligned(
    ratios: Sequence[Sequence[float | None]], former: Sequence[str], names: Sequence[str]
) -> list[list[float | None]]:
    """Rows of ratios, of actual to expected error, of the former landmarks as rows of these."""
    rows = [dict(zip(former, row, strict=True)) for row in ratios if len(row) == len(former)]
    return [[row.get(name) for name in names] for row in rows]


def unfinished(checkpoint: Checkpoint | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """The head of the saved state of a stage in progress; empty where there is none."""
    head = checkpoint.head() if checkpoint else {}
    return {} if head.get("stage") in config["done"] else head


def _rest(config: Mapping[str, Any]) -> float | None:
    """Minutes that a run which waits for its first exemplar has left; None for one without a budget."""
    if config["minutes"] is None:
        return None
    return float(max(WARM_MINUTES / 4, config["minutes"] - sum(config["done"].values()) / 60))
