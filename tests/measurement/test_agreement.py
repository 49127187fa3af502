"""Agreement of observers, held to published examples where there are any."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onemark.data.landmarks.table import LandmarkTable
from onemark.measurement.observers.agreement import agree
from onemark.measurement.observers.plots import plot_files, write_plots
from onemark.measurement.observers.reliability import compare, holm, hotelling, intraclass, scatter_ellipse
from onemark.measurement.sets.reading import parse_set
from onemark.types import UserError

from .faces import FACE, OPPOSITE, SYMBOLS, face, faces, opposite

# Shrout and Fleiss 1979, Table 2: four judges, six targets.
SHROUT = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def moved(
    table: LandmarkTable, shift: tuple[float, float] = (0, 0), noise: float = 0, seed: int = 0
) -> LandmarkTable:
    rng = np.random.default_rng(seed)
    return LandmarkTable.from_sets(
        replace(one, xy=one.xy + shift + rng.normal(0, noise, one.xy.shape)) for one in table
    )


def test_intraclass_correlations_are_those_that_shrout_and_fleiss_published():
    agreement, consistency = intraclass(SHROUT)
    assert agreement.value == pytest.approx(0.29, abs=0.005)
    assert consistency.value == pytest.approx(0.71, abs=0.005)
    # The intervals that R's psych::ICC gives for these data.
    assert (agreement.low, agreement.high) == pytest.approx((0.019, 0.761), abs=0.001)
    assert (consistency.low, consistency.high) == pytest.approx((0.342, 0.946), abs=0.001)


def test_intraclass_correlations_at_the_ends():
    same = np.repeat(np.arange(5.0)[:, None], 2, axis=1)
    assert [one.value for one in intraclass(same)] == [1.0, 1.0]
    shifted = same + np.array([0.0, 2.0])
    agreement, consistency = intraclass(shifted)
    assert consistency.value == 1.0
    assert agreement.value < 0.6
    assert math.isnan(intraclass(same[:1])[0].value)
    with_gap = np.vstack([SHROUT, [np.nan, 1, 2, 3]])
    assert intraclass(with_gap) == intraclass(SHROUT)


def test_limits_of_agreement_and_dahlberg_follow_their_definitions():
    a = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
    d = np.array([0.5, -0.5, 1.0, 0.0, 3.0])
    found = compare(a, a + d)
    assert found.count == 4
    assert found.mean == pytest.approx(0.25)
    assert found.dahlberg == pytest.approx(math.sqrt(1.5 / 8))
    assert found.high - found.low == pytest.approx(2 * 1.96 * d[:4].std(ddof=1))


def test_angles_on_both_sides_of_180_degrees_are_near_each_other():
    found = compare(np.array([179.0, -178.0, 179.5]), np.array([-179.0, 179.0, -179.5]), is_angle=True)
    assert (found.mean, found.sd) == pytest.approx((0.0, math.sqrt(7)))
    rng = np.random.default_rng(0)
    rises = rng.normal(0, 5, 40) + rng.normal(0, 1, (2, 40))
    tables = {
        name: LandmarkTable.from_sets(opposite(f"{k}.png", rise) for k, rise in enumerate(row))
        for name, row in zip("ab", rises, strict=True)
    }
    both = agree(tables, parse_set(OPPOSITE, "o", "o"))
    # 1 mm turns the line of 100 mm by 0.57 degrees.
    expected = 0.573 * (rises[0] - rises[1]).std(ddof=1)
    assert both.measurements.loc[0, "sd"] == pytest.approx(expected, rel=0.02)
    assert np.ptp(both.values["turn"]) < 20
    reliability = both.reliability.set_index(["what", "kind"])
    found_icc = reliability.loc[("turn", "measurement"), "icc2_1"]
    assert found_icc == pytest.approx(intraclass(rises.T)[0].value, abs=0.01)


def test_bias_is_found_where_there_is_one():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (60, 2))
    assert hotelling(noise) > 0.05
    assert hotelling(noise + np.array([1.0, 0.0])) < 1e-6
    assert math.isnan(hotelling(np.repeat(noise[:, :1], 2, axis=1)))
    a = rng.normal(0, 5, 60)
    assert compare(a, a + noise[:, 0] + 1).bias_p < 1e-6
    assert compare(a, 1.5 * a + noise[:, 0]).trend_p < 1e-6


def test_hotelling_keeps_its_level():
    rng = np.random.default_rng(1)
    p = np.array([hotelling(rng.normal(0, 1, (12, 2)) * (1, 3)) for _ in range(2000)])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_holm_s_correction_is_the_published_one():
    corrected = holm([0.01, 0.04, math.nan, 0.03, 0.005])
    assert corrected[[0, 1, 3, 4]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(corrected[2])


def test_the_ellipse_holds_95_percent():
    rng = np.random.default_rng(0)
    c, s = math.cos(math.radians(30)), math.sin(math.radians(30))
    points = rng.normal(0, 1, (20_000, 2)) * (3, 1) @ np.array([[c, s], [-s, c]])
    major, minor, degrees = scatter_ellipse(points)
    assert degrees == pytest.approx(30, abs=1)
    along, across = points @ (c, s), points @ (-s, c)
    assert ((along / major) ** 2 + (across / minor) ** 2 <= 1).mean() == pytest.approx(0.95, abs=0.005)


def test_a_model_is_compared_like_a_person():
    person = faces(30)
    other, model = moved(person, noise=0.5, seed=1), moved(person, (1.0, 0.0), 0.5, seed=2)
    found = agree({"person": person, "other": other, "model": model}, "isbi19", spacing_mm=0.5)
    points = found.points.set_index(["first", "second", "landmark"]).sort_index()
    assert len(points) == 3 * 20
    assert points.loc[("person", "model", "S"), "dx_mean"] == pytest.approx(0.5, abs=0.15)
    assert points.loc[("person", "model", "S"), "bias_p_holm"] < 0.01
    assert (points.loc[("person", "other")]["bias_p_holm"].dropna() > 0.01).all()
    assert points.loc[("person", "other", "all"), "n"] == 30 * 19
    assert set(found.points["unit"]) == {"mm"}
    values = found.measurements.set_index(["first", "second", "measurement"])
    assert (
        values.loc[("person", "model", "SNA"), "bias_p_holm"] > 0.01
    )  # a shift of everything changes no angle
    icc = found.reliability.set_index(["what", "kind"])
    assert icc.loc[("SNA", "measurement"), "icc3_1"] > 0.8
    assert icc.loc[("S", "x"), "observers"] == 3


def test_only_what_all_observers_have_is_compared_and_the_rest_is_named():
    a = faces(4)
    b = LandmarkTable.from_sets([*list(a)[1:], face("z.png")])
    found = agree({"a": a, "b": b})
    assert found.readings.images == ("1.png", "2.png", "3.png")
    assert len(found.readings.left_out) == 2
    assert found.readings.unit == "px"
    assert found.measurements.empty


def test_landmarks_that_one_observer_left_out_do_not_count():
    a = faces(6)
    sets = list(a)
    hidden = sets[0].xy.copy()
    hidden[SYMBOLS.index("Go")] = np.nan
    b = LandmarkTable.from_sets([replace(sets[0], xy=hidden), *sets[1:]])
    points = agree({"a": a, "b": b}, "isbi19").points.set_index("landmark")
    assert points.loc["Go", "n"] == 5
    assert points.loc["S", "n"] == 6


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"a": faces(2)}, "at least two observers"),
        ({"a": faces(2), "b": LandmarkTable.from_sets([face("z.png")])}, "no image in common"),
        (
            {"a": faces(2), "b": LandmarkTable.from_sets([face("0.png", FACE[:1], names=("tip",))])},
            "no landmark in common",
        ),
    ],
)
def test_observers_with_nothing_in_common_are_refused(tables: dict[str, LandmarkTable], message: str):
    with pytest.raises(UserError, match=message):
        agree(tables)


def test_plots_are_written_for_each_pair(tmp_path: Path):
    pytest.importorskip("matplotlib")
    person = faces(12)
    found = agree({"a b/c": person, "model": moved(person, noise=1)}, "isbi19", spacing_mm=0.5)
    files = write_plots(tmp_path, found)
    assert sorted(file.name for file in files) == ["bland-altman-a_b_c-model.png", "scatter-a_b_c-model.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"onemark\[plots\]"):
        write_plots(tmp_path, agree({"a": faces(3), "b": faces(3, seed=1)}))


def test_observers_whose_names_differ_in_a_blank_have_files_of_their_own():
    names = plot_files(["a b", "a_b", "A B"])
    assert len({name.casefold() for name in names}) == len(names) == 6
    assert plot_files(["a", "b"]) == ("scatter-a-b.png", "bland-altman-a-b.png")
