"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from onemark import __version__
from onemark.data.atomic import write_text
from onemark.data.cohort import Cohort
from onemark.data.keys import canonical
from onemark.data.landmarks.table import LandmarkTable
from onemark.evaluation.metrics import THRESHOLDS, Scores, Spacing, evaluate
from onemark.evaluation.report import charts
from onemark.evaluation.report.cards import Card, card
from onemark.progress import SKIPPED, Progress, Sink, silent
from onemark.types import LandmarkSet, UserError

CAP = 300
"""Most radiographs shown; of the rest the report holds the names."""

Sets = Mapping[str, LandmarkSet]


@dataclass(frozen=True)
class Trust:
    """What the model itself says about a landmark, over all radiographs; NaN where it says nothing."""

    name: str
    count: int
    expected: float
    score: float


def write_report(
    path: str | Path,
    cohort: Cohort,
    found: LandmarkTable,
    *,
    truth: LandmarkTable | None = None,
    scores: Scores | None = None,
    log: Sequence[Mapping[str, object]] = (),
    title: str = "",
    exemplars: LandmarkTable | None = None,
    problems: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    cap: int = CAP,
    progress: Sink = silent,
) -> None:
    """Write a self-contained HTML report: the exemplars, then every radiograph, the worst first.

    Worst is the largest mean true error where there is truth, else the largest mean expected error.

    Args:
        path: The file; one that is there is replaced.
        cohort: Where the radiographs are; they are decoded one at a time.
        found: Landmarks found.
        truth: True landmarks, shown beside the found ones; scored in mm when every spacing is known, and
            without the exemplars.
        scores: Scores to show instead of scoring `found` against `truth`.
        log: Lines `{stage, step, loss, seconds}` of the training.
        title: Heading; the folder's name when empty.
        exemplars: Landmarks that a person placed.
        problems: One sentence per radiograph that was passed over.
        settings: Name -> value, shown as a table.
        cap: Most radiographs to show; the report names those left out.
        progress: Gets one event per radiograph.

    Raises:
        UserError: the file cannot be written, or found and truth have nothing in common.
    """
    placed = _by_image(exemplars)
    scores = scores or _scored(cohort, found, truth, placed)
    points = {**_by_image(found), **placed}
    order = _worst_first([name for name in cohort.names if name in points], points, placed, scores)
    messages = [_plain(problem) for problem in problems]
    cards = _cards(cohort, order[:cap], points, placed, _by_image(truth), scores, messages, progress)
    html = _render(
        title=title or canonical(cohort.folder.resolve().name),
        names=found.names,
        count=len(order),
        scores=scores,
        error_chart=charts.error_chart(scores) if scores else "",
        loss_charts=charts.loss_charts(log),
        trust=_trust(found),
        all_cards=cards,
        has_truth=any(p.true for c in cards for p in c.points),
        left_out=order[cap:],
        problems=list(dict.fromkeys(messages)),
        without=[n for n in cohort.names if n not in points and not any(n in m for m in messages)],
        elsewhere=[name for name in found.images if name not in cohort],
        settings=settings or {},
    )
    write_text(path, html)


def _scored(cohort: Cohort, found: LandmarkTable, truth: LandmarkTable | None, placed: Sets) -> Scores | None:
    if truth is None:
        return None
    exemplars = [image for image in placed if image in found or image in truth]
    return evaluate(found, truth, spacing_mm=_spacings(cohort, found), exclude=exemplars)


def _render(all_cards: Sequence[Card], **values: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    page = environment.get_template("page.html.j2")
    exemplars, cards = ([c for c in all_cards if c.exemplar is kind] for kind in (True, False))
    values |= {"exemplars": exemplars, "cards": cards}
    return page.render(values, version=__version__, written=written, thresholds=THRESHOLDS)


def _cards(
    cohort: Cohort,
    names: Sequence[str],
    points: Sets,
    placed: Sets,
    truth: Sets,
    scores: Scores | None,
    messages: list[str],
    progress: Sink,
) -> list[Card]:
    """Cards of the radiographs that can be read; of the others a line goes into `messages`."""
    errors = _errors(scores)
    cards = []
    radiographs = cohort.readable(names, lambda event: messages.append(_plain(event.message)))
    for step, radiograph in enumerate(radiographs, 1):
        name = radiograph.name
        true = None if name in placed else truth.get(name)
        cards.append(card(radiograph, points[name], true, errors.get(name), name in placed))
        progress(Progress("report", step, len(names)))
    return cards


def _worst_first(names: Sequence[str], points: Sets, placed: Sets, scores: Scores | None) -> list[str]:
    true = scores.per_image if scores else {}

    def place(name: str) -> tuple[bool, float, float, float]:
        # Without an expected error, a low score is all there is to go by.
        expected, score = _mean(points[name].expected_error), _mean(points[name].score)
        return name not in placed, -true.get(name, -1), -np.nan_to_num(expected, nan=-1), np.nan_to_num(score)

    return sorted(names, key=place)


def _errors(scores: Scores | None) -> dict[str, dict[str, float]]:
    """Image -> landmark -> true error."""
    errors: dict[str, dict[str, float]] = {}
    if scores is not None:
        for image, name, error in zip(scores.image, scores.landmark, scores.error.tolist(), strict=True):
            errors.setdefault(str(image), {})[str(name)] = error
    return errors


def _trust(found: LandmarkTable) -> list[Trust]:
    rows = []
    for k, name in enumerate(found.names):
        seen = [one for one in found if np.isfinite(one.xy[k]).all()]
        expected, score = (
            _mean(np.array([getattr(one, what)[k] for one in seen if getattr(one, what).size], float))
            for what in ("expected_error", "score")
        )
        rows.append(Trust(name, len(seen), expected, score))
    return rows


def _spacings(cohort: Cohort, found: LandmarkTable) -> dict[str, Spacing] | None:
    """The spacing of every image found, or None when one is not known."""
    spacings: dict[str, Spacing] = {}
    for name in found.images:
        try:
            spacing = cohort.header(name).spacing
        except UserError:
            spacing = None
        if spacing is None:
            return None
        spacings[name] = spacing
    return spacings


def _by_image(table: LandmarkTable | None) -> dict[str, LandmarkSet]:
    return {} if table is None else {one.image: one for one in table}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _plain(message: str) -> str:
    return canonical(message.removeprefix(SKIPPED))
