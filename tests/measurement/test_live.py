"""What a window shows while a point is dragged, and what the report shows."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from onemark.measurement.drawing import ARC, LINE
from onemark.measurement.live import read_measurements, read_values
from onemark.measurement.report import cohort_section, radiograph_bars, z_bar
from onemark.measurement.sets import load_set
from onemark.measurement.sets.fitting import find_set
from onemark.measurement.table import measure

from .faces import FACE, SYMBOLS, face, faces

SET = load_set("isbi19")


@pytest.mark.parametrize("spacing", [None, (0.5, 0.25)])
def test_live_values_are_those_of_the_table(spacing: tuple[float, float] | None):
    live = read_measurements(face(error=1.0), SET, spacing)
    frame = measure([face(error=1.0)], SET, spacing_mm={"a.png": spacing})
    assert [one.name for one in live] == list(frame["measurement"])
    for one, row in zip(live, frame.to_dict("records"), strict=True):
        assert one.value == row["value"]
        assert (one.low, one.high, one.unit) == (row["low"], row["high"], row["unit"])
        assert (one.class_name, one.flag) == (row["class"], row["flag"])


def test_strokes_are_in_pixels_and_touch_the_landmarks():
    readings = {one.name: one for one in read_measurements(face(), SET, (0.5, 0.25))}
    line = readings["S-N"].strokes[0]
    assert line.kind == LINE
    assert line.xy == pytest.approx(FACE[[SYMBOLS.index("S"), SYMBOLS.index("N")]])
    first, second, arc = readings["SNA"].strokes
    assert [one.kind for one in (first, second, arc)] == [LINE, LINE, ARC]
    nasion = FACE[SYMBOLS.index("N")]
    assert first.xy[0] == pytest.approx(nasion)
    radii = np.hypot(*((arc.xy - nasion) * (0.5, 0.25)).T)  # round in mm, where pixels are not square
    assert radii == pytest.approx(np.full(len(radii), radii[0]))


def test_an_arc_spans_the_angle_that_it_stands_for():
    readings = {one.name: one for one in read_measurements(face(), SET)}
    arc, tip = readings["gonial angle"].strokes[2].xy, FACE[SYMBOLS.index("Go")]
    a, b = arc[0] - tip, arc[-1] - tip
    assert math.degrees(math.acos(a @ b / math.hypot(*a) / math.hypot(*b))) == pytest.approx(
        readings["gonial angle"].value
    )


def test_the_perpendicular_of_a_distance_from_a_line_has_its_length():
    readings = {one.name: one for one in read_measurements(face(), SET)}
    perpendicular = readings["UL-SnPog'"].strokes[1].xy
    assert math.dist(*perpendicular) == pytest.approx(abs(readings["UL-SnPog'"].value))


def test_measurements_made_of_others_draw_these():
    readings = {one.name: one for one in read_measurements(face(), SET)}
    assert len(readings["ANB"].strokes) == len(readings["SNA"].strokes) + len(readings["SNB"].strokes)


def test_what_cannot_be_measured_is_not_drawn():
    hidden = FACE.copy()
    hidden[SYMBOLS.index("Go")] = np.nan
    readings = {one.name: one for one in read_measurements(face(xy=hidden), SET)}
    assert readings["Ar-Go"].strokes == ()
    assert readings["Ar-Go"].flag == "Go not visible"
    assert read_measurements(face(), SET, with_strokes=False)[0].strokes == ()


def test_the_section_lists_every_measurement_with_its_norm_and_classes():
    html = str(cohort_section(measure(faces(12), SET, spacing_mm=1.0), SET))
    for one in SET.measurements:
        assert f"<td>{one.name.replace(chr(39), '&#39;')}<td" in html
    assert html.count("<svg") == sum(one.norm is not None for one in SET.measurements)
    assert "130 &plusmn; 7" in html
    assert "skeletal class" in html


def test_bars_of_one_radiograph_are_those_with_a_norm_and_their_bands_are_their_errors():
    frame = measure([face(error=1.0)], SET, spacing_mm=1.0)
    html = str(radiograph_bars(frame, "a.png", SET))
    assert html.count("<svg") == sum(one.norm is not None for one in SET.measurements)
    assert str(radiograph_bars(frame, "b.png", SET)).count("<svg") == 0


def test_a_bar_is_valid_svg_whose_mark_stays_inside():
    for z, at in ((0.0, 120.0), (2.0, 180.0), (99.0, 240.0), (-99.0, 0.0)):
        root = ET.fromstring(str(z_bar(z, z - 1, z + 1)))
        assert float(root.find("circle").attrib["cx"]) == pytest.approx(at)  # type: ignore[union-attr]


def test_names_are_escaped_in_html():
    text = '[landmarks]\nA = []\nB = []\n[[measurement]]\nname = "<b>"\nformula = "distance(A, B)"\nunit = "mm"\n'
    from onemark.measurement.sets.reading import parse_set

    mine = parse_set(text, "<i>", "mine")
    frame = measure([face(xy=FACE[:2], names=("A", "B"))], mine, spacing_mm=1.0)
    assert not re.search("<b>|<i>", str(cohort_section(frame, mine)))


def test_many_radiographs_give_the_values_of_one():
    sets = tuple(faces(5))
    units, values = read_values(sets, SET, "S-N", {one.image: (0.1, 0.1) for one in sets})
    assert units == {"mm"}
    expected = [read_measurements(one, SET, (0.1, 0.1)) for one in sets]
    assert values.tolist() == pytest.approx([{r.name: r.value for r in one}["S-N"] for one in expected])


def test_a_set_is_found_for_its_landmarks_only():
    assert find_set(SYMBOLS) is not None
    assert find_set([str(k + 1) for k in range(19)]) is not None
    assert find_set(["A", "B", "C", "N"]) is None
    phantom = find_set(["sella", "nasion", "gonion", "menton"])
    assert phantom is not None
    assert {"S-N", "Go-Me"} <= {one.name for one in phantom.measurements}
    assert "SNA" not in {one.name for one in phantom.measurements}
