"""When a result is not usable, why, and what helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onemark.data.cohort import Cohort, open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.evaluation.report import write_report
from onemark.evaluation.verdict import judge
from onemark.phantom import write_phantom_cohort
from onemark.types import LandmarkSet


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("xrays")
    write_phantom_cohort(folder, 12, size=(320, 256))
    return open_cohort(folder, spacing_mm=0.5)  # a mean side of 144 mm


def _predict(cohort: Cohort, error: float) -> list[LandmarkSet]:
    xy = np.full((3, 2), 50.0)
    return [LandmarkSet(n, ("a", "b", "c"), xy, np.ones(3), np.full(3, error)) for n in cohort.names]


def _log(**steps: int) -> list[dict[str, object]]:
    return [
        {"stage": stage, "step": step, "loss": 1.0} for stage, last in steps.items() for step in (1, last)
    ]


LONG = _log(match=400, detect=300)


def test_a_usual_result_is_usable(cohort: Cohort):
    assert judge(_predict(cohort, 2.0), cohort, log=LONG, minutes=10.0, others=0.9) is None


def test_a_large_expected_error_comes_first_with_its_reasons(cohort: Cohort):
    verdict = judge(_predict(cohort, 36.6), cohort, log=_log(match=3, detect=6), minutes=2.0, others=0.62)
    assert verdict is not None
    assert verdict.headline == "Not usable yet: the points are probably 37 mm off, 25 % of the image side"
    text = verdict.explain()
    assert "other programs took 62 % of the processor" in text
    assert "the time was short (2 min, 3 steps of the matcher and 6 steps of the detector)" in text
    assert "go on training for 10 minutes" in text
    assert "annotate" in text
    assert "another recipe" in text


def test_too_few_steps_are_enough_to_say_so(cohort: Cohort):
    verdict = judge(_predict(cohort, 6.0), cohort, log=_log(match=3, detect=300))
    assert verdict is not None
    assert verdict.headline == "Not usable yet: the training had only 3 steps of the matcher"


def test_few_steps_do_not_matter_where_the_answers_agree(cohort: Cohort):
    """Registration needs no training and answers where networks had no time to learn."""
    assert judge(_predict(cohort, 2.0), cohort, log=_log(match=1, detect=3)) is None


def test_few_radiographs_are_a_reason(cohort: Cohort):
    verdict = judge(_predict(cohort, 36.6)[:4], cohort.subset(cohort.names[:4]), log=LONG)
    assert verdict is not None
    assert "only 4 radiographs" in verdict.explain()


def test_pixels_are_judged_like_millimetres(tmp_path: Path):
    from PIL import Image

    for name in ("a", "b"):
        Image.fromarray(np.zeros((1000, 800), np.uint8)).save(tmp_path / f"{name}.png")
    cohort = open_cohort(tmp_path)
    bad = judge(_predict(cohort, 366.0), cohort, log=LONG)
    assert bad is not None
    assert "366 px off, 41 %" in bad.headline
    assert judge(_predict(cohort, 10.0), cohort, log=LONG) is None


def test_what_a_person_annotated_and_what_has_no_error_do_not_count(cohort: Cohort):
    sets = _predict(cohort, 36.6)
    bare = [LandmarkSet(one.image, one.names, one.xy) for one in sets]
    assert judge(bare, cohort, log=LONG) is None
    assert judge(sets, cohort, log=LONG, annotated=cohort.names) is None


def test_the_report_says_it_first(cohort: Cohort, tmp_path: Path):
    write_report(tmp_path / "report.html", cohort, LandmarkTable.from_sets(_predict(cohort, 36.6)))
    html = (tmp_path / "report.html").read_text("utf-8")
    assert 0 < html.index("Not usable yet") < html.index("<h2>")
    write_report(tmp_path / "good.html", cohort, LandmarkTable.from_sets(_predict(cohort, 2.0)), log=LONG)
    assert "Not usable yet" not in (tmp_path / "good.html").read_text("utf-8")
