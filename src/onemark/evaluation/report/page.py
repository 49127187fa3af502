"""The report: one HTML file that needs no other file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from onemark import __version__
from onemark.data.atomic import write_text
from onemark.data.cohort import Cohort
from onemark.data.keys import canonical
from onemark.data.landmarks.table import LandmarkTable
from onemark.data.landmarks.units import in_one_unit
from onemark.evaluation.metrics import THRESHOLDS, Scores, Spacing, evaluate
from onemark.evaluation.report import charts
from onemark.evaluation.report.cards import Card, make_card
from onemark.evaluation.report.reviewing import draw_review
from onemark.evaluation.review import rank_radiographs
from onemark.evaluation.verdict import Verdict, judge
from onemark.progress import SKIPPED, Progress, Sink, silent
from onemark.types import LandmarkSet

# Every picture is part of the file, so the file grows with this number.
CAP = 300
"""Number of radiographs that the report shows; it names the others."""

Sets = Mapping[str, LandmarkSet]


@dataclass(frozen=True)
class Addition:
    """Something more for the report, such as measurements.

    Attributes:
        section: About the whole cohort; it stands before the radiographs.
        cards: Radiograph -> what to add to its card.
    """

    section: Markup
    cards: Mapping[str, Markup]


@dataclass(frozen=True)
class Confidence:
    """Mean expected error and score of a landmark over `count` radiographs; NaN where there are none."""

    name: str
    count: int
    expected: float
    score: float


def write_report(
    path: str | Path,
    cohort: Cohort,
    predictions: LandmarkTable,
    *,
    truth: LandmarkTable | None = None,
    scores: Scores | None = None,
    log: Sequence[Mapping[str, object]] = (),
    title: str = "",
    exemplars: LandmarkTable | None = None,
    problems: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    addition: Addition | None = None,
    verdict: Verdict | None = None,
    cap: int = CAP,
    progress: Sink = silent,
) -> None:
    """Write a self-contained HTML report: the exemplars, then every radiograph, the worst first.

    The worst has the largest mean true error if the truth is known, else the largest gain of `evaluation.review`.

    Args:
        path: The file; an existing one is replaced.
        cohort: Where the radiographs are; they are decoded one at a time.
        predictions: Predicted landmarks.
        truth: True landmarks, scored without the exemplars and in mm when every spacing is known.
        scores: Scores to show instead of scoring `predictions` against `truth`.
        log: Lines `{stage, step, loss, seconds}` of the training.
        title: Heading; the cohort folder's name when empty.
        exemplars: Landmarks that a person placed; where these are not all, the predictions hold them, too.
        problems: One sentence per skipped radiograph.
        settings: Name -> value, shown as a table.
        addition: Something more to show, as `onemark.measurement.report.add_measurements` makes it.
        verdict: Why the predictions are not usable; by default what their expected errors and `log` say.
        cap: Number of radiographs to show; the report names the others.
        progress: Receives one event per radiograph.

    Raises:
        UserError: the file cannot be written, or predictions and truth have nothing in common.
    """
    placed = _index_images(exemplars and exemplars.annotated(least=1))
    scores = scores or _score(cohort, predictions, truth, exemplars, placed)
    points = {**_index_images(predictions), **placed}  # what a person placed replaces the prediction
    unit, comparable = in_one_unit(predictions.sets, cohort)
    order = _sort_worst_first(cohort, {**{one.image: one for one in comparable}, **placed}, placed, scores)
    messages, true = [_strip_prefix(problem) for problem in problems], _index_images(truth)
    cards = _make_cards(cohort, order[:cap], points, placed, true, scores, messages, progress)
    html = _render(
        title=title or canonical(cohort.folder.resolve().name),
        names=predictions.names,
        scores=scores,
        loss_charts=charts.draw_loss_charts(log),
        all_cards=cards,
        settings=settings or {},
        addition=addition or Addition(Markup(), {}),
        verdict=verdict or judge(predictions, cohort, log=log, annotated=list(placed)),
        **_describe_errors(comparable, unit, predictions.names, placed, scores),
        **_count_shown(cohort, predictions, points, order, cap, messages),
    )
    write_text(path, html)


def _describe_errors(
    sets: Sequence[LandmarkSet], unit: str, names: Sequence[str], placed: Sets, scores: Scores | None
) -> dict[str, object]:
    """What the report says about expected errors, all in `unit`, and about a review of the predictions."""
    return {
        "confidences": _summarise_confidence(names, sets),
        "confidence_unit": unit,
        "review": draw_review([one for one in sets if one.image not in placed], scores),
    }


def _count_shown(
    cohort: Cohort,
    predictions: LandmarkTable,
    points: Sets,
    order: Sequence[str],
    cap: int,
    messages: list[str],
) -> dict[str, object]:
    """What the report says about radiographs that it does not show."""
    unread = [name for name in cohort.names if name not in points]
    return {
        "count": len(order),
        "left_out": order[cap:],
        "problems": list(dict.fromkeys(messages)),
        "without": [name for name in unread if not any(name in message for message in messages)],
        "elsewhere": [name for name in predictions.images if name not in cohort],
    }


def _score(
    cohort: Cohort,
    predictions: LandmarkTable,
    truth: LandmarkTable | None,
    exemplars: LandmarkTable | None,
    placed: Sets,
) -> Scores | None:
    if truth is None:
        return None
    exclude = [image for image in placed if image in predictions or image in truth]
    rest = truth if exemplars is None else truth.without_answers(exemplars)
    return evaluate(predictions, rest, spacing_mm=_read_spacings(cohort, predictions), exclude=exclude)


def _render(all_cards: Sequence[Card], scores: Scores | None, **values: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        # Names of files and landmarks come from others and may hold HTML.
        autoescape=True,
        # A misspelt name in the template must fail instead of rendering as nothing.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    page = environment.get_template("page.html.j2")
    exemplars, cards = ([c for c in all_cards if c.exemplar is kind] for kind in (True, False))
    has_truth = any(point.true for card in all_cards for point in card.points)
    values |= {"exemplars": exemplars, "cards": cards, "scores": scores, "has_truth": has_truth}
    values["error_chart"] = charts.draw_error_chart(scores) if scores else ""
    return page.render(values, version=__version__, written=written, thresholds=THRESHOLDS)


def _make_cards(
    cohort: Cohort,
    names: Sequence[str],
    points: Sets,
    placed: Sets,
    truth: Sets,
    scores: Scores | None,
    messages: list[str],
    progress: Sink,
) -> list[Card]:
    """Make cards of the readable radiographs, and add a line to `messages` for each of the others."""
    errors = _group_errors(scores)
    cards = []
    radiographs = cohort.readable(names, lambda event: messages.append(_strip_prefix(event.message)))
    for step, radiograph in enumerate(radiographs, 1):
        name = radiograph.name
        true = None if name in placed else truth.get(name)
        cards.append(make_card(radiograph, points[name], true, errors.get(name), name in placed))
        progress(Progress("report", step, len(names)))
    return cards


def _sort_worst_first(cohort: Cohort, points: Sets, placed: Sets, scores: Scores | None) -> list[str]:
    true = scores.per_image if scores else {}

    def place(name: str) -> tuple[bool, float, float, float]:
        # Imported predictions may have scores but no expected errors.
        pays, score = (
            rank_radiographs(np.atleast_2d(points[name].expected_error))[0],
            _mean(points[name].score),
        )
        return name not in placed, -true.get(name, -1), -np.nan_to_num(pays, nan=-1), np.nan_to_num(score)

    return sorted((name for name in cohort.names if name in points), key=place)


def _group_errors(scores: Scores | None) -> dict[str, dict[str, float]]:
    """Return image -> landmark -> true error."""
    errors: dict[str, dict[str, float]] = {}
    if scores is not None:
        for image, name, error in zip(scores.image, scores.landmark, scores.error.tolist(), strict=True):
            errors.setdefault(str(image), {})[str(name)] = error
    return errors


def _summarise_confidence(names: Sequence[str], predictions: Sequence[LandmarkSet]) -> list[Confidence]:
    rows = []
    for k, name in enumerate(names):
        seen = [one for one in predictions if np.isfinite(one.xy[k]).all()]
        expected, score = (
            _mean(np.array([getattr(one, what)[k] for one in seen if getattr(one, what).size], float))
            for what in ("expected_error", "score")
        )
        rows.append(Confidence(name, len(seen), expected, score))
    return rows


def _read_spacings(cohort: Cohort, predictions: LandmarkTable) -> dict[str, Spacing] | None:
    """Return the spacing of every predicted image, or None when one is unknown."""
    spacings: dict[str, Spacing] = {}
    for name in predictions.images:
        spacing = cohort.spacing(name)
        if spacing is None:
            return None
        spacings[name] = spacing
    return spacings


def _index_images(table: LandmarkTable | None) -> dict[str, LandmarkSet]:
    return {} if table is None else {one.image: one for one in table}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _strip_prefix(message: str) -> str:
    return canonical(message.removeprefix(SKIPPED))
