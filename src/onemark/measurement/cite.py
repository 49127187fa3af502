"""The methods paragraph of a run, ready for a paper, with the references of its recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onemark.data.landmarks.table import LandmarkTable
from onemark.types import UserError

PAPERS: Mapping[str, str] = {
    "cc2d": (
        "Yao Q, Quan Q, Xiao L, Zhou SK. One-shot medical landmark detection. MICCAI 2021. arXiv:2103.04527"
    ),
    "scp": (
        "Quan Q, Yao Q, Li J, Zhou SK. Which images to label for few-shot medical landmark detection? CVPR 2022. "
        "arXiv:2112.04386"
    ),
    "edgetrans": (
        "Yin Z, Gong P, Wang C, Yu Y, Wang Y. One-shot medical landmark localization by edge-guided transform and noisy "
        "landmark refinement. ECCV 2022. arXiv:2208.00453"
    ),
    "fm-osd": (
        "Miao J, Chen C, Zhang K, Chuai J, Li Q, Heng PA. FM-OSD: foundation model-enabled one-shot detection of "
        "anatomical landmarks. MICCAI 2024. arXiv:2407.05412"
    ),
    "sla": (
        "He X, Huang Z, Yao Q, Zhou X, Zhou SK. Landmarks are alike yet distinct: harnessing similarity and "
        "individuality for one-shot medical landmark detection. MICCAI 2025. arXiv:2503.16058"
    ),
}
RECIPE_PAPERS: Mapping[str, tuple[str, ...]] = {
    "onemark": ("cc2d", "fm-osd"),
    "match-detect": ("cc2d",),
    "onemark-c2t": ("cc2d", "edgetrans", "fm-osd"),
    "cc2d": ("cc2d",),
    "scp": ("cc2d", "scp"),
    "match-only": ("cc2d",),
    "cc2d-sla": ("sla", "cc2d"),
    "sla-atd": ("sla", "cc2d"),
    "c-adapter": ("sla", "cc2d"),
    "c-f2": ("sla", "cc2d", "fm-osd"),
    "sla-compact": ("sla", "cc2d"),
    "edgetrans": ("edgetrans",),
    "edgetrans-compact": ("edgetrans", "cc2d"),
    "edgetrans-match-only": ("edgetrans",),
}
"""Recipe -> papers whose methods it follows, in published or changed form."""


@dataclass(frozen=True)
class RunFacts:
    """What a paper says of a run.

    Attributes:
        version: Of onemark.
        recipe: Its name.
        device: Where it learned.
        seed: Of the training.
        seconds: Time it took, NaN when unknown.
        radiographs: How many it learned from.
        annotated: Images that a person had annotated.
        landmarks: How many landmarks.
        is_done: Whether the training is finished.
        spacing: `(x, y)` mm per pixel that was given, or None.
        folder: The radiographs.
        suggested: Whether onemark chose which to annotate.
        predictions: The run's landmarks, or None.
    """

    version: str
    recipe: str
    device: str
    seed: int
    seconds: float
    radiographs: int
    annotated: tuple[str, ...]
    landmarks: int
    is_done: bool
    spacing: tuple[float, float] | None
    folder: Path
    suggested: bool
    predictions: LandmarkTable | None


def read_facts(run: Path | str) -> RunFacts:
    """The facts of a run folder.

    Raises:
        UserError: no run there, or it is damaged.
    """
    # The one place that knows how a run keeps its configuration; the pipeline, and torch with it, loads only here.
    from onemark.pipeline.runs import RunFolder

    folder = RunFolder.open(run)
    config: Any = folder.config

    def of(key: str, default: Any = None) -> Any:
        found = config.get(key, default) if isinstance(config, Mapping) else getattr(config, key, default)
        return default if found is None else found

    exemplars, done, spacing = folder.exemplars(), of("done", {}), of("spacing_mm")
    predictions = LandmarkTable((), ())
    if folder.landmarks.exists():
        from onemark.data.landmarks.table import read_landmarks

        predictions = read_landmarks(folder.landmarks)
    return RunFacts(
        version=str(of("onemark", "unknown")),
        recipe=str(of("recipe", "unknown")),
        device=str(of("device", "unknown")),
        seed=int(of("seed", 0)),
        seconds=float(sum(done.values())) if done else math.nan,
        radiographs=len(of("radiographs", ())),
        annotated=exemplars.images,
        landmarks=len(exemplars.names),
        is_done=of("state") == "done",
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        folder=Path(of("cohort", "")),
        suggested=(folder.path / "suggestion.csv").exists(),
        predictions=predictions if len(predictions) else None,
    )


def write_methods(
    facts: RunFacts, corrected: LandmarkTable | None = None, spacing_mm: float | None = None
) -> str:
    """A paragraph for the methods section, and the references.

    Args:
        facts: Of a run.
        corrected: Landmarks that a person placed or corrected on radiographs of the run. The accuracy on them is
            stated with its 95 % interval, radiographs annotated for the training left out.
        spacing_mm: mm per pixel of the radiographs; the run's own by default.

    Raises:
        UserError: the training is not finished, or the corrections have nothing in common with the predictions.
    """
    if not facts.is_done:
        raise UserError("the run is not finished; finish it with `onemark resume`, then cite it")
    if facts.recipe not in RECIPE_PAPERS:
        raise UserError(f"the run has the unknown recipe {facts.recipe!r}; cite it with the onemark that made it")
    sentences = [_training(facts), _making(facts)]
    if corrected is not None:
        sentences.append(_accuracy(facts, corrected, spacing_mm))
    papers = [PAPERS[key] for key in RECIPE_PAPERS[facts.recipe]]
    if facts.suggested and PAPERS["scp"] not in papers:
        papers.append(PAPERS["scp"])
    own = f"The onemark developers. onemark, version {facts.version}. https://github.com/onemark/onemark"
    references = "\n".join(f"[{k}] {paper}" for k, paper in enumerate((own, *papers), 1))
    return f"{' '.join(sentences)}\n\n{references}\n"


def _training(facts: RunFacts) -> str:
    count = len(facts.annotated)
    annotated = "one radiograph" if count == 1 else f"{count} radiographs"
    chosen = ", which onemark had suggested," if facts.suggested else ""
    numbers = ", ".join(f"[{k + 2}]" for k in range(len(RECIPE_PAPERS[facts.recipe])))
    return (
        f"{facts.landmarks} landmarks were detected with onemark {facts.version} [1], recipe {facts.recipe!r}, whose "
        f"methods follow {numbers}. A person annotated {annotated}{chosen} of a cohort of {facts.radiographs}; the "
        "model learned from these annotations and from the other radiographs without labels."
    )


def _making(facts: RunFacts) -> str:
    device = {"cpu": "a CPU", "cuda": "a CUDA GPU", "mps": "an Apple GPU"}.get(facts.device, facts.device)
    if math.isnan(facts.seconds):
        took = "Training ran"
    elif facts.seconds < 60:
        took = f"Training took {facts.seconds:.0f} seconds"
    else:
        took = f"Training took {facts.seconds / 60:.1f} minutes"
    return f"{took} on {device} with the random seed {facts.seed}."


def _accuracy(facts: RunFacts, corrected: LandmarkTable, spacing_mm: float | None) -> str:
    from onemark.evaluation.metrics import evaluate

    if facts.predictions is None:
        raise UserError("the run holds no predictions (landmarks.csv) to compare with; make them with `onemark run`")
    spacing = facts.spacing if spacing_mm is None else spacing_mm
    there = set(facts.predictions.images) | set(corrected.images)
    exclude = [image for image in facts.annotated if image in there]
    scores = evaluate(facts.predictions, corrected, spacing_mm=spacing, exclude=exclude)
    limit = f"; {scores.sdr[2.0]:.1f} % of the landmarks lay within 2 mm" if scores.unit == "mm" else ""
    return (
        f"Against a person's annotation of {len(scores.per_image)} radiographs that were not used for training, the mean "
        f"radial error was {scores.mre:.2f} {scores.unit} (95 % interval {scores.low:.2f} to {scores.high:.2f}, bootstrap "
        f"over radiographs){limit}."
    )
