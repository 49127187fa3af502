from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onemark.data.cohort import Cohort, open_cohort
from onemark.data.landmarks.table import LandmarkTable
from onemark.evaluation.metrics import evaluate
from onemark.evaluation.report import write_overlays, write_report
from onemark.evaluation.report.charts import draw_line_chart, draw_loss_charts
from onemark.evaluation.report.overlays import draw_overlay, name_overlays
from onemark.phantom import LANDMARKS, write_phantom_cohort
from onemark.progress import Cancelled, Progress
from onemark.types import LandmarkSet, Radiograph, UserError

COUNT = 4
EVIL = "<script>alert('1')</script>"


class Page(HTMLParser):
    """What a browser makes of the report: its elements, and the text of the cards."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and kind in (a.get("class") or "").split(" ")]

    @property
    def cards(self) -> list[str | None]:
        return [card["data-name"] for card in self.all("article", "card")]

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("xrays")


@pytest.fixture(scope="module")
def truth(folder) -> LandmarkTable:
    return write_phantom_cohort(folder, COUNT)


@pytest.fixture(scope="module")
def cohort(truth, folder) -> Cohort:
    return open_cohort(folder)


@pytest.fixture(scope="module")
def predictions(truth) -> LandmarkTable:
    """1, 2, 3, ... px beside the truth, with expected errors that decrease instead."""
    sets = []
    for k, one in enumerate(truth):
        expected = np.full(len(one.names), float(COUNT - k))
        sets.append(
            LandmarkSet(one.image, one.names, one.xy + np.array([k + 1.0, 0.0]), expected / 10, expected)
        )
    return LandmarkTable.from_sets(sets)


def page(tmp_path: Path, cohort: Cohort, predictions: LandmarkTable, **more: object) -> Page:
    write_report(tmp_path / "report.html", cohort, predictions, **more)
    return Page((tmp_path / "report.html").read_text("utf-8"))


def test_every_radiograph_is_shown_worst_expected_error_first(tmp_path, cohort, predictions):
    shown = page(tmp_path, cohort, predictions)
    assert shown.cards == [f"phantom-00{k}.png" for k in (1, 2, 3, 4)]
    assert len(shown.all("circle", "point")) == COUNT * len(LANDMARKS)
    assert "expected error 4.00 mm" in shown.said
    assert "nose tip · expected error 4.00 mm · score 0.40" in shown.said
    assert not shown.all("path", "true")


def test_ellipses_are_drawn_as_80_percent_regions_in_px(tmp_path, cohort, predictions):
    shape = np.tile([2.0, 1.0, 30.0], (len(LANDMARKS), 1))
    shaped = LandmarkTable.from_sets(
        LandmarkSet(p.image, p.names, p.xy, p.score, p.expected_error, "mm", ellipse=shape)
        for p in predictions
    )
    shown = page(tmp_path, cohort, shaped)
    regions = shown.all("ellipse", "region")
    assert len(regions) == COUNT * len(LANDMARKS)
    # 0.8 mm per px, and 1.79 standard deviations hold 80 % of a normal distribution in the plane.
    assert float(regions[0]["rx"]) == pytest.approx(1.794 * 2 / 0.8, abs=0.06)
    assert float(regions[0]["ry"]) == pytest.approx(1.794 / 0.8, abs=0.06)
    assert "rotate(30.0)" in regions[0]["transform"]
    assert "sd 2.00 mm along 30°, 1.00 mm across" in shown.said
    assert not page(tmp_path, cohort, predictions).all("ellipse", "region")


def test_landmarks_that_are_probably_not_visible_are_named(tmp_path, cohort, predictions):
    probable = np.full(len(LANDMARKS), 0.9)
    probable[1] = 0.2
    first, *others = predictions
    unsure = LandmarkSet(
        first.image, first.names, first.xy, first.score, first.expected_error, visible_probability=probable
    )
    shown = page(tmp_path, cohort, LandmarkTable.from_sets([unsure, *others]))
    assert f"probably not visible: {first.names[1]}" in shown.said
    assert shown.said.count("probably not visible") == 1
    assert len(shown.all("circle", "point")) == COUNT * len(LANDMARKS)


def test_it_says_what_a_review_would_leave(tmp_path, cohort, predictions, truth):
    estimated = page(tmp_path, cohort, predictions).said
    # 52 landmarks on 4 radiographs with 4, 3, 2 and 1 mm each: five of the first remove 20 of 130 mm.
    assert (
        "Reviewing the first 5 landmarks in the order that pays most leaves 85 % of the expected error"
        in estimated
    )
    assert "as many random ones leave 90 %" in estimated
    known = page(tmp_path, cohort, predictions, truth=truth).said
    # Expected errors that decrease where the true ones grow: the worst order.
    assert "leaves 96 % of the error" in known
    assert "the best order 85 %" in known


def test_with_truth_the_worst_true_error_comes_first(tmp_path, cohort, predictions, truth):
    shown = page(tmp_path, cohort, predictions, truth=truth)
    assert shown.cards == [f"phantom-00{k}.png" for k in (4, 3, 2, 1)]
    scores = evaluate(predictions, truth, spacing_mm=0.8)
    assert f"{scores.mre:.2f} mm mean radial error" in shown.said
    for rate in scores.sdr.values():
        assert f"{rate:.1f} %" in shown.said
    for name in LANDMARKS:
        assert name in shown.said
    assert "Cumulative error" in shown.said
    assert len(shown.all("path", "shade")) == COUNT * len(LANDMARKS)
    assert "error 3.20 mm" in shown.said


def test_points_lie_at_the_predictions_in_original_pixels(tmp_path, cohort, predictions):
    shown = page(tmp_path, cohort, predictions)
    drawn = [(float(c["cx"]), float(c["cy"])) for c in shown.all("circle", "point")]
    assert np.allclose(drawn, np.concatenate([one.xy for one in predictions]), atol=0.051)
    frame = next(a for t, a in shown.tags if t == "image")
    # Pixel centres at integers: the picture reaches half a pixel beyond the first and last centre.
    assert (frame["x"], frame["y"], frame["width"], frame["height"]) == ("-0.5", "-0.5", "256", "320")
    assert any(a.get("viewbox") == "-0.5 -0.5 256 320" for a in shown.all("svg"))


def test_given_scores_are_shown_as_they_are(tmp_path, cohort, predictions, truth):
    scores = evaluate(predictions, truth, spacing_mm=10.0, unit="furlongs")
    assert "25.00 furlongs mean radial error" in page(tmp_path, cohort, predictions, scores=scores).said


def test_exemplars_come_first_and_do_not_count(tmp_path, cohort, predictions, truth):
    exemplars = LandmarkTable.from_sets([truth["phantom-002.png"]])
    shown = page(tmp_path, cohort, predictions, truth=truth, exemplars=exemplars)
    assert shown.cards == [f"phantom-00{k}.png" for k in (2, 4, 3, 1)]
    assert "exemplar placed by a person" in shown.said
    assert "Scored on 3 radiographs; the exemplars do not count" in shown.said
    first = shown.all("circle", "point")[0]
    assert float(first["cx"]) == pytest.approx(truth["phantom-002.png"].xy[0, 0], abs=0.051)


def test_exemplars_without_predictions_change_no_score(tmp_path, cohort, predictions, truth):
    exemplars = LandmarkTable.from_sets([truth["phantom-002.png"]])
    predictions, truth = (
        LandmarkTable.from_sets(one for one in table if one.image not in exemplars)
        for table in (predictions, truth)
    )
    shown = page(tmp_path, cohort, predictions, truth=truth, exemplars=exemplars)
    assert "Scored on 3 radiographs" in shown.said


def test_the_cap_keeps_the_worst_and_names_the_others(tmp_path, cohort, predictions):
    shown = page(tmp_path, cohort, predictions, cap=1)
    assert shown.cards == ["phantom-001.png"]
    assert "1 of 4 radiographs are shown" in shown.said
    assert "phantom-002.png, phantom-003.png, phantom-004.png" in shown.said


def test_thumbnails_are_small_pictures_inside_the_file(tmp_path, cohort, predictions, monkeypatch):
    monkeypatch.setattr("onemark.evaluation.report.cards.SIDE", 100)
    shown = page(tmp_path, cohort, predictions)
    pictures = [a["href"] for t, a in shown.tags if t == "image"]
    assert len(pictures) == COUNT
    kind, data = pictures[0].split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (80, 100)
        assert np.asarray(picture).std() > 20


def test_the_page_needs_nothing_else(tmp_path, cohort, predictions, truth):
    shown = page(tmp_path, cohort, predictions, truth=truth, log=[{"stage": "match", "step": 1, "loss": 1.0}])
    links = [a[k] for _, a in shown.tags for k in ("href", "src") if a.get(k)]
    assert all(link.startswith("data:") for link in links)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert not re.findall(r"url\(|@import|https?://", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_names_that_are_code_do_no_harm(tmp_path, predictions, cohort):
    folder = tmp_path / "in"
    folder.mkdir()
    image = EVIL.replace("/", "") + '"onload="alert(1).png'
    (folder / image).write_bytes(cohort.path("phantom-001.png").read_bytes())
    points = predictions["phantom-001.png"]
    names = (EVIL, *points.names[1:])
    table = LandmarkTable.from_sets(
        [LandmarkSet(image, names, points.xy, points.score, points.expected_error)]
    )
    shown = page(
        tmp_path,
        open_cohort(folder),
        table,
        truth=table,
        title=EVIL,
        problems=[EVIL],
        settings={EVIL: EVIL},
        log=[{"stage": EVIL, "step": 1, "loss": 1.0}],
    )
    assert len(shown.all("script")) == 1
    assert not [a for _, a in shown.tags if any(k.startswith("on") for k in a)]
    assert shown.cards == [image.lower()]
    assert shown.said.count(EVIL) >= 6


def test_bad_radiographs_are_named_and_the_rest_is_shown(tmp_path, cohort, predictions):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in cohort.names:
        (folder / name).write_bytes(cohort.path(name).read_bytes())
    (folder / "phantom-002.png").write_bytes(b"")
    (folder / "zz.png").write_bytes(cohort.path("phantom-001.png").read_bytes())
    problem = "skipped: phantom-009.png: cut off; copy it again"
    shown = page(tmp_path, open_cohort(folder), predictions, problems=[problem, problem])
    assert shown.cards == [f"phantom-00{k}.png" for k in (1, 3, 4)]
    assert shown.said.count("phantom-009.png: cut off; copy it again") == 1
    assert "phantom-002.png" in shown.said
    assert "without landmarks: zz.png" in shown.said


def test_landmarks_without_a_radiograph_are_named(tmp_path, cohort, predictions):
    few = cohort.subset(["phantom-003.png"])
    shown = page(tmp_path, few, predictions)
    assert shown.cards == ["phantom-003.png"]
    assert (
        "without a radiograph in this folder: phantom-001.png, phantom-002.png, phantom-004.png" in shown.said
    )


def test_landmarks_that_are_not_visible_are_named(tmp_path, cohort, predictions):
    one = predictions["phantom-001.png"]
    xy = one.xy.copy()
    xy[0] = np.nan
    table = LandmarkTable.from_sets([LandmarkSet(one.image, one.names, xy)])
    shown = page(tmp_path, cohort, table)
    assert len(shown.all("circle", "point")) == len(LANDMARKS) - 1
    assert "not visible: sella" in shown.said
    asked = np.array([True] * (len(LANDMARKS) - 1) + [False])
    partly = LandmarkSet(one.image, one.names, np.where(asked[:, None], xy, np.nan), asked=asked)
    shown = page(tmp_path, cohort, LandmarkTable.from_sets([partly]))
    assert "not visible: sella" in shown.said
    assert f"sella, {one.names[-1]}" not in shown.said
    assert "not asked for: 1 landmark" in shown.said


def test_a_radiograph_with_a_single_answer_is_shown_as_predicted(tmp_path, cohort, predictions, truth):
    first, second, *_ = truth
    asked = np.arange(len(LANDMARKS)) == 0
    single = LandmarkSet(second.image, second.names, np.where(asked[:, None], second.xy, np.nan), asked=asked)
    exemplars = LandmarkTable.from_sets([first, single])
    shown = page(tmp_path, cohort, predictions, exemplars=exemplars, truth=truth)
    assert shown.said.count("placed by a person") == 1
    assert len(shown.all("circle", "point")) == COUNT * len(LANDMARKS)
    scored = (COUNT - 1) * len(LANDMARKS) - 1
    assert f"{scored} / {scored}" in shown.said, "neither the exemplar nor the answer is scored"


def test_settings_title_and_training_are_shown(tmp_path, cohort, predictions):
    log = [
        {"stage": s, "step": k, "loss": 1 / (k + 1), "seconds": 1.0}
        for s in ("match", "detect")
        for k in range(9)
    ]
    shown = page(tmp_path, cohort, predictions, title="Knees", settings={"match.steps": 900}, log=log)
    assert shown.said.startswith("Knees - onemark")
    assert "match.steps 900" in shown.said
    assert len(shown.all("polyline", "curve")) == 3  # two losses, and what a review would leave


def test_loss_charts_keep_stages_apart_and_skip_lines_without_loss():
    charts = draw_loss_charts(
        [
            {"stage": "match", "step": 1, "loss": 2.0},
            {"stage": "detect", "step": 1, "loss": 0.5},
            {"stage": "detect", "step": 2, "loss": float("nan")},
            {"stage": "predict", "step": 1},
        ]
    )
    assert list(charts) == ["match", "detect"]


def test_a_chart_puts_high_values_up_and_thins_long_lines():
    line = np.stack([np.arange(5000.0), np.linspace(8, 2, 5000)], axis=1)
    points = re.search(r'points="([^"]+)"', draw_line_chart(line, "step", "loss"))
    assert points is not None
    xy = np.array([[float(v) for v in p.split(",")] for p in points[1].split(" ")])
    assert len(xy) <= 300
    assert np.all(np.diff(xy[:, 0]) > 0)
    assert np.all(np.diff(xy[:, 1]) >= 0)


@pytest.mark.parametrize(
    "line", [[(0.0, 0.0)], [(1.0, 0.0), (2.0, 0.0)], [(1.0, -3.0), (2.0, 5.0)], [(1e6, 1e-9)]]
)
def test_a_chart_draws_any_numbers(line):
    svg = draw_line_chart(np.array(line), "x", "y")
    assert "nan" not in svg
    assert svg.count("<polyline") == 1


def test_a_sink_can_stop_the_report_and_nothing_is_written(tmp_path, cohort, predictions):
    steps = []

    def stop(event: Progress) -> None:
        steps.append(event.step)
        if event.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        write_report(tmp_path / "report.html", cohort, predictions, progress=stop)
    assert steps == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_truth_of_other_images_is_a_user_error(tmp_path, cohort, predictions, truth):
    other = LandmarkTable.from_sets([LandmarkSet("other.png", LANDMARKS, truth["phantom-001.png"].xy)])
    with pytest.raises(UserError, match="in common"):
        write_report(tmp_path / "report.html", cohort, predictions, truth=other)


def test_overlays_are_one_picture_per_radiograph(tmp_path, cohort, predictions):
    events: list[Progress] = []
    write_overlays(tmp_path / "overlays", cohort, predictions, progress=events.append)
    files = sorted(path.name for path in (tmp_path / "overlays").iterdir())
    assert files == list(cohort.names)
    assert [event.step for event in events] == [1, 2, 3, 4]
    with Image.open(tmp_path / "overlays" / files[0]) as picture:
        assert picture.size == (512, 640)
        assert picture.mode == "RGB"


def test_an_overlay_rings_the_landmark_and_leaves_the_rest_grey():
    pixels = np.full((640, 512), 0.5, np.float32)
    points = LandmarkSet("a.png", ("tip", "gone"), np.array([[300.0, 200.0], [np.nan, np.nan]]))
    drawn = np.asarray(draw_overlay(Radiograph("a.png", pixels), points)).astype(int)
    rows, columns = np.nonzero(np.ptp(drawn, axis=2) > 60)
    ring = columns < 300 + 8
    assert abs(columns[ring].mean() - 300) < 1
    assert abs(rows[ring].mean() - 200) < 1
    assert np.ptp(drawn[400:], axis=2).max() == 0


def test_an_overlay_joins_the_true_position():
    radiograph = Radiograph("a.png", np.full((640, 512), 0.5, np.float32))
    predictions = LandmarkSet("a.png", ("tip",), np.array([[300.0, 200.0]]))
    truth = LandmarkSet("a.png", ("tip",), np.array([[100.0, 200.0]]))
    bare = np.asarray(draw_overlay(radiograph, predictions)).astype(int)
    combine = np.asarray(draw_overlay(radiograph, predictions, truth)).astype(int)
    rows, columns = np.nonzero(np.abs(combine - bare).max(axis=2) > 60)
    assert 90 < columns.min() < 100
    assert abs(rows.mean() - 200) < 2


def test_overlay_names_never_clash():
    names = ["a/x.png", "a/x.jpg", "b/x.jpg", "Y.tif", "y.png"]
    assert name_overlays(names) == {name: f"{name}.png" for name in names}
    assert name_overlays(names[2:4]) == {"b/x.jpg": "b/x.png", "Y.tif": "Y.png"}


def test_overlays_go_on_after_a_bad_radiograph(tmp_path, cohort, predictions):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "phantom-001.png").write_bytes(b"no picture")
    (folder / "phantom-002.png").write_bytes(cohort.path("phantom-002.png").read_bytes())
    events: list[Progress] = []
    write_overlays(tmp_path / "out", open_cohort(folder), predictions, progress=events.append)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["phantom-002.png"]
    assert any("phantom-001.png" in event.message for event in events)
