from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import onemark
from onemark import Cohort, LandmarkTable, Progress, Radiograph, UserError
from onemark.imaging.augment import UNCHANGED
from onemark.imaging.letterbox import Letterbox
from onemark.nn.training.canvases import (
    CanvasCache,
    adapt_intensity,
    cohort_canvas,
    cohort_framing,
    learning_pool,
    level_at,
    resolution_levels,
)

CANVAS = (96, 64)


@pytest.fixture
def mixed(xrays: Path, tmp_path: Path) -> Cohort:
    """Four phantoms and four files that are no radiographs, between them."""
    for number in range(1, 5):
        shutil.copy(xrays / f"phantom-00{number}.png", tmp_path / f"{2 * number}.png")
        (tmp_path / f"{2 * number - 1}.png").write_bytes(b"no image")
    return onemark.open_cohort(tmp_path)


def test_canvases_are_kept_to_16_bit(phantoms: Cohort):
    store = CanvasCache(phantoms, CANVAS)
    for _ in range(2):  # from the radiograph, then from the file
        kept = store.read([3, 0])
        assert kept.shape == (2, 1, *CANVAS)
        assert kept.dtype == torch.float32
        for canvas, index in zip(kept, (3, 0), strict=True):
            rendered = Letterbox.fit(phantoms[index].size, CANVAS).render(phantoms[index].pixels).clamp(0, 1)
            assert (canvas[0] - rendered).abs().max() <= 0.5 / 65535 + 1e-7


def test_a_radiograph_is_decoded_once_and_kept_on_disk(
    phantoms: Cohort, monkeypatch: pytest.MonkeyPatch, generator: Callable[..., torch.Generator]
):
    decoded: list[str] = []
    decode = Cohort.__getitem__

    def counted(self: Cohort, which: str | int) -> Radiograph:
        decoded.append(str(which))
        return decode(self, which)

    monkeypatch.setattr(Cohort, "__getitem__", counted)
    store = CanvasCache(phantoms, CANVAS)
    for seed in range(20):
        store.read(store.draw(4, generator(seed)))
    assert sorted(decoded) == sorted(map(str, range(12)))
    held = [value for value in vars(store).values() if isinstance(value, torch.Tensor | np.ndarray)]
    assert held == []
    assert all(isinstance(store.letterbox(index), Letterbox) for index in range(12))


def test_a_draw_holds_different_radiographs_where_there_are_as_many(
    phantoms: Cohort, generator: Callable[..., torch.Generator]
):
    store = CanvasCache(phantoms, CANVAS)
    for seed in range(5):
        assert len(set(store.draw(12, generator(seed)))) == 12
        assert set(store.draw(30, generator(seed))) == set(range(12))
        assert len(store.draw(30, generator(seed))) == 30
    assert store.draw(5, generator(7)) == store.draw(5, generator(7)) != store.draw(5, generator(8))


def test_bad_radiographs_are_named_once_and_replaced(
    mixed: Cohort, generator: Callable[..., torch.Generator]
):
    events: list[Progress] = []
    store = CanvasCache(mixed, CANVAS, events.append)
    for seed in range(10):
        assert set(store.draw(6, generator(seed))) <= {1, 3, 5, 7}
    named = [event.message for event in events]
    assert len(named) == 4
    for name in ("1.png", "3.png", "5.png", "7.png"):
        assert sum(name in message for message in named) == 1
    assert set(store.problems) == {"1.png", "3.png", "5.png", "7.png"}


def test_what_is_known_of_bad_radiographs_does_not_change_a_draw(
    mixed: Cohort, generator: Callable[..., torch.Generator]
):
    fresh = [CanvasCache(mixed, CANVAS).draw(3, generator(seed)) for seed in range(20)]
    used = CanvasCache(mixed, CANVAS)
    assert [used.draw(3, generator(seed)) for seed in range(20)] == fresh


def test_a_few_good_ones_among_many_bad_ones_are_found(
    xrays: Path, tmp_path: Path, generator: Callable[..., torch.Generator]
):
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(b"")
    shutil.copy(xrays / "phantom-001.png", tmp_path / "40.png")
    store = CanvasCache(onemark.open_cohort(tmp_path), CANVAS)
    for seed in range(5):
        assert store.draw(2, generator(seed)) == [40, 40]


def test_nothing_but_bad_radiographs_is_the_users_error(
    tmp_path: Path, generator: Callable[..., torch.Generator]
):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    cohort = onemark.open_cohort(tmp_path)
    with pytest.raises(UserError, match=r"no radiograph in .* can be read"):
        CanvasCache(cohort, CANVAS).draw(2, generator(0))
    with pytest.raises(UserError, match=r"no radiograph in .* can be read"):
        cohort_canvas(cohort, 10240)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_no_bad_radiograph(
    phantoms: Cohort, monkeypatch: pytest.MonkeyPatch, generator: Callable[..., torch.Generator]
):
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: full)
        store = CanvasCache(phantoms, CANVAS)
        with pytest.raises(UserError, match="disk is full"):
            store.draw(2, generator(0))
    assert store.problems == {}


def test_exemplars_lie_where_their_radiographs_do(phantoms: Cohort, truth: LandmarkTable):
    exemplars = LandmarkTable.from_sets([truth["phantom-005.png"], truth["phantom-002.png"]])
    hidden = exemplars.sets[0].xy.copy()
    hidden[1] = np.nan
    exemplars = exemplars.with_set(onemark.LandmarkSet("phantom-005.png", exemplars.names, hidden))
    store = CanvasCache(phantoms, CANVAS)
    first, second = store.place_exemplars(exemplars)
    assert (first.index, second.index) == (4, 1)
    assert len(first.visible) == len(exemplars.names) - 1
    assert first.xy[1].isnan().all()
    expected = Letterbox.fit(phantoms[1].size, CANVAS).to_canvas(truth["phantom-002.png"].xy)
    np.testing.assert_allclose(second.xy, expected, atol=1e-3)


def test_the_canvas_follows_the_cohort_and_bad_headers_do_not_matter(phantoms: Cohort, mixed: Cohort):
    assert cohort_canvas(phantoms, 20480) == cohort_canvas(mixed, 20480) == (160, 128)


def test_a_large_cohort_gives_an_even_choice_with_the_exemplars(phantoms: Cohort, exemplars: LandmarkTable):
    assert learning_pool(phantoms, exemplars, 12) is phantoms
    last = LandmarkTable.from_sets([onemark.LandmarkSet("phantom-012.png", ("a",), np.zeros((1, 2)))])
    pool = learning_pool(phantoms, last, 4)
    assert set(pool.names) == {"phantom-012.png", *(f"phantom-{n:03}.png" for n in (1, 4, 7, 10))}


def test_training_grows_from_a_small_canvas_to_the_whole(phantoms: Cohort, exemplars: LandmarkTable):
    small, whole = resolution_levels(phantoms, exemplars, (192, 192), 0.5, 12, lambda event: None)
    assert (small.store.canvas, whole.store.canvas) == ((128, 128), (192, 192))
    np.testing.assert_allclose(small.exemplars[0].xy * 1.5, whole.exemplars[0].xy, atol=1.5)
    assert [level_at([small, whole], fraction) for fraction in (0, 0.49, 0.5, 1)] == [
        small,
        small,
        whole,
        whole,
    ]
    (only,) = resolution_levels(phantoms, exemplars, (192, 192), 0.0, 12, lambda event: None)
    assert only.store.canvas == (192, 192)


def framed_cohort(folder: Path, sizes: list[tuple[int, int]]) -> Cohort:
    folder.mkdir()
    for number, size in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 255, size, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return onemark.open_cohort(folder)


def test_framing_is_told_from_the_aspect_ratios(tmp_path: Path):
    alike = framed_cohort(tmp_path / "alike", [(100, 80)] * 3 + [(200, 160), (60, 90)])
    mixed = framed_cohort(tmp_path / "mixed", [(100, 80)] * 3 + [(200, 100), (60, 90)])
    assert cohort_framing(alike, "auto") == "alike"
    assert cohort_framing(mixed, "auto") == "mixed"
    assert cohort_framing(alike, "mixed") == "mixed"
    assert cohort_framing(mixed, "alike") == "alike"


def test_a_mixed_cohort_fills_the_canvas_and_loses_its_borders(
    tmp_path: Path, generator: Callable[..., torch.Generator]
):
    cohort = framed_cohort(tmp_path / "mixed", [(100, 80), (80, 80), (300, 80)])
    mixed, alike = (CanvasCache(cohort, (96, 64), framing=framing) for framing in ("mixed", "alike"))
    assert [mixed.letterbox(i).scaled for i in range(3)] == [
        (96, 64),
        (96, 64),
        (96, 38),
    ]  # at most half as much again
    assert [alike.letterbox(i).scaled for i in range(3)] == [(80, 64), (64, 64), (96, 26)]
    views = torch.ones(8, 1, 96, 64)
    lost = adapt_intensity("mixed", UNCHANGED).apply(views, generator(0)) == 0
    assert lost.any()
    assert not lost[:, :, 20:-20, 14:-14].any()
    assert adapt_intensity("alike", UNCHANGED) == UNCHANGED
