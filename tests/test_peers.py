"""The comparison with itk-elastix must be fair: no mistake of ours in directions or half pixels."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from onemark.phantom import phantom_radiograph
from onemark.types import LandmarkSet, Radiograph


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "peers.py"
    spec = importlib.util.spec_from_file_location("peers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["peers"] = module
    spec.loader.exec_module(module)
    return module


def test_halving_keeps_points_on_their_pixels(peers: ModuleType):
    pixels = np.zeros((9, 12), np.float32)
    pixels[4:6, 6:8] = 1  # centre of mass (6.5, 4.5)
    half = peers.halve(pixels)
    assert half.shape == (4, 6)
    y, x = np.argwhere(half == 1)[0]
    np.testing.assert_allclose(peers.to_half(np.array([[6.5, 4.5]])), [[x, y]])
    np.testing.assert_allclose(peers.from_half(peers.to_half(np.array([[1.25, 7.0]]))), [[1.25, 7.0]])


def test_positions_count_from_one(peers: ModuleType):
    assert list(range(10))[peers.parse_positions("3-5")] == [2, 3, 4]
    assert list(range(10))[peers.parse_positions("7")] == [6]


def test_points_go_from_the_exemplar_to_the_target(peers: ModuleType):
    itk = pytest.importorskip("itk", reason="itk-elastix is not installed")
    if not hasattr(itk, "ElastixRegistrationMethod"):
        pytest.skip("itk-elastix is not installed")
    exemplar, landmarks = phantom_radiograph(1)
    shift = np.array([6, -10])
    moved = np.roll(exemplar.pixels, (shift[1], shift[0]), axis=(0, 1))
    predicted = peers.locate(exemplar, landmarks, Radiograph("moved.png", moved))
    assert isinstance(predicted, LandmarkSet)
    assert predicted.image == "moved.png"
    errors = np.linalg.norm(predicted.xy - (landmarks.xy + shift), axis=1)
    assert np.median(errors) < 0.7
