"""The methods paragraph of a run, ready for a paper, with the references of its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onemark.data.landmarks.table import LandmarkTable, read_landmarks
from onemark.data.suggestion import Suggestion
from onemark.types import UserError

if TYPE_CHECKING:
    from onemark.evaluation.metrics import Spacing

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
    "match-detect-refine": ("cc2d", "fm-osd"),
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
    "groupwise": (),
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
        seconds: Time that the training took, all teaching included.
        radiographs: How many it learned from.
        annotated: Images of which a person had annotated at least half of the landmarks.
        answers: Image -> how many of its landmarks a person had answered for, of all others.
        landmarks: How many landmarks.
        is_done: Whether the training is finished.
        spacing: `(x, y)` mm per pixel that was given, or None.
        suggested: Whether onemark chose all that were annotated.
        predictions: The run's landmarks, or None.
    """

    version: str
    recipe: str
    device: str
    seed: int
    seconds: float
    radiographs: int
    annotated: tuple[str, ...]
    answers: Mapping[str, int]
    landmarks: int
    is_done: bool
    spacing: tuple[float, float] | None
    suggested: bool
    predictions: LandmarkTable | None


def read_facts(run: Path | str) -> RunFacts:
    """The facts of a run folder.

    Raises:
        UserError: no run there, or it is damaged.
    """
    # The one place that knows how a run keeps its configuration.
    from onemark.pipeline.runs.folder import RunFolder

    folder = RunFolder.open(run)
    config, exemplars = folder.config, folder.exemplars()
    whole = exemplars.annotated().images
    return RunFacts(
        version=config.version,
        recipe=config.recipe,
        device=config.device,
        seed=config.seed,
        seconds=config.total_seconds,
        radiographs=len(config.radiographs),
        annotated=whole,
        answers={one.image: int(one.answered.sum()) for one in exemplars if one.image not in whole},
        landmarks=len(exemplars.names),
        is_done=folder.status().is_trained,
        spacing=config.spacing_mm,
        suggested=_was_suggested(folder.suggestion, whole),
        predictions=read_landmarks(folder.landmarks) if folder.landmarks.exists() else None,
    )


def _was_suggested(suggestion: Path, annotated: tuple[str, ...]) -> bool:
    """Whether all annotated radiographs were suggested; a suggestion that is not there or cannot be read says nothing."""
    try:
        return bool(annotated) and set(annotated) <= set(Suggestion.read_csv(suggestion).chosen)
    except UserError:
        return False


def write_methods(
    facts: RunFacts,
    corrected: LandmarkTable | None = None,
    spacing_mm: Spacing | Mapping[str, Spacing | None] | None = None,
) -> str:
    """A paragraph for the methods section, and the references.

    Args:
        facts: Of a run.
        corrected: Landmarks that a person placed or corrected on radiographs of the run. The accuracy on them is
            stated with its 95 % interval, radiographs with annotations or answers for the training left out.
        spacing_mm: mm per pixel of the radiographs, for all or for each; by default what the run was given.

    Raises:
        UserError: the training is not finished, or the corrections have nothing in common with the predictions.
    """
    if not facts.is_done:
        raise UserError("the run is not finished; finish it with `onemark resume`, then cite it")
    sentences = [_describe_training(facts), _describe_making(facts)]
    if corrected is not None:
        sentences.append(_describe_accuracy(facts, corrected, spacing_mm))
    own = f"The onemark developers. onemark, version {facts.version}. https://github.com/onemark/onemark"
    references = "\n".join(f"[{k}] {paper}" for k, paper in enumerate((own, *_papers(facts)), 1))
    return f"{' '.join(sentences)}\n\n{references}\n"


def _papers(facts: RunFacts) -> list[str]:
    keys = list(RECIPE_PAPERS.get(facts.recipe, ()))
    if facts.suggested and "scp" not in keys:
        keys.append("scp")
    return [PAPERS[key] for key in keys] or [
        f"(the papers of the recipe {facts.recipe!r}: see its documentation)"
    ]


def _describe_training(facts: RunFacts) -> str:
    count, answers = len(facts.annotated), sum(facts.answers.values())
    chosen = ", which onemark had suggested," if facts.suggested else ""
    numbers = ", ".join(f"[{k}]" for k in range(2, 2 + len(_papers(facts))))
    done = []
    if count:
        annotated = "one radiograph" if count == 1 else f"{count} radiographs"
        done.append(f"annotated {annotated}{chosen} of a cohort of {facts.radiographs}")
    if answers:
        where = "others" if count else f"{len(facts.answers)} radiographs of a cohort of {facts.radiographs}"
        done.append(f"answered for {answers} single landmark{'s' * (answers > 1)} of {where}")
    return (
        f"{facts.landmarks} landmarks were detected with onemark {facts.version} [1], recipe {facts.recipe!r}, whose "
        f"methods follow {numbers}. A person {' and '.join(done)}; the model learned from these annotations and from the "
        "other radiographs without labels."
    )


def _describe_making(facts: RunFacts) -> str:
    device = {"cpu": "a CPU", "cuda": "a CUDA GPU", "mps": "an Apple GPU"}.get(facts.device, facts.device)
    minutes = facts.seconds / 60
    took = f"{minutes:.1f} minutes" if minutes >= 1 else f"{facts.seconds:.0f} seconds"
    return f"Training took {took} on {device} with the random seed {facts.seed}."


def _describe_accuracy(
    facts: RunFacts, corrected: LandmarkTable, spacing_mm: Spacing | Mapping[str, Spacing | None] | None
) -> str:
    from onemark.evaluation.metrics import evaluate

    if facts.predictions is None:
        raise UserError(
            "the run holds no predictions (landmarks.csv) to compare with; make them with `onemark run`"
        )
    spacing = facts.spacing if spacing_mm is None else spacing_mm
    there = set(facts.predictions.images) | set(corrected.images)
    exclude = [image for image in (*facts.annotated, *facts.answers) if image in there]
    scores = evaluate(facts.predictions, corrected, spacing_mm=spacing, exclude=exclude)
    limit = f"; {scores.sdr[2.0]:.1f} % of the landmarks lay within 2 mm" if scores.unit == "mm" else ""
    return (
        f"Against a person's annotation of {len(scores.per_image)} radiographs that were not annotated for training, the "
        f"mean radial error was {scores.mre:.2f} {scores.unit} (95 % interval {scores.low:.2f} to {scores.high:.2f}, "
        f"bootstrap over radiographs){limit}."
    )
