"""Makes the pictures of docs/measure.md from the phantom. Needs matplotlib (the extra `plots`).

python docs/make_measure_pictures.py
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from onemark.data.landmarks.table import LandmarkTable
from onemark.measurement.live import read_measurements
from onemark.measurement.observers.agreement import agree
from onemark.measurement.observers.plots import write_plots
from onemark.measurement.sets.reading import parse_set
from onemark.measurement.shapes.cohort import analyse_shapes, write_shapes
from onemark.phantom import phantom_radiograph

IMAGES = Path(__file__).parent / "images"
ZOOM = 2
COLOURS = ("#f4a261", "#2a9d8f", "#e9c46a")
SET = """
title = "Phantom"
facing = ["sella", "nasion", "menton"]
[landmarks]
sella = []
nasion = []
gonion = []
menton = []
pogonion = []
[[measurement]]
name = "S-N-Pog"
formula = "angle(sella, nasion, pogonion)"
unit = "deg"
[[measurement]]
name = "SN-MP"
formula = "signed_angle(line(sella, nasion), line(gonion, menton))"
unit = "deg"
[[measurement]]
name = "S-Go"
formula = "distance(sella, gonion)"
unit = "mm"
"""


def main() -> None:
    chosen = parse_set(SET, "phantom", "phantom")
    draw_strokes(chosen)
    truth = LandmarkTable.from_sets(phantom_radiograph(index)[1] for index in range(40))
    spacing = phantom_radiograph(0)[0].spacing
    with tempfile.TemporaryDirectory() as work:
        write_shapes(Path(work), analyse_shapes(truth, spacing_mm=spacing))
        (IMAGES / "measure-shapes.svg").write_text((Path(work) / "shapes.svg").read_text("utf-8"), "utf-8")
        rng = np.random.default_rng(0)
        second = LandmarkTable.from_sets(
            replace(one, xy=one.xy + rng.normal((0.4, 0.0), (0.8, 1.6), one.xy.shape)) for one in truth
        )
        found = agree({"first": truth, "second": second}, chosen, spacing_mm=spacing)
        for file in write_plots(Path(work), found):
            if file.name.startswith("bland"):
                Image.open(file).convert("P", palette=Image.Palette.ADAPTIVE, colors=32).save(
                    IMAGES / "measure-bland-altman.png", optimize=True
                )


def draw_strokes(chosen: object) -> None:
    radiograph, landmarks = phantom_radiograph(0)
    height, width = radiograph.size
    picture = Image.fromarray((255 * radiograph.pixels).astype(np.uint8)).resize(
        (ZOOM * width, ZOOM * height)
    )
    picture = picture.convert("RGB")
    pen = ImageDraw.Draw(picture)
    placed = replace(
        landmarks, expected_error=np.full(len(landmarks.names), 1.0), score=np.ones(len(landmarks.names))
    )
    readings = read_measurements(placed, chosen, radiograph.spacing)  # type: ignore[arg-type]
    for k, (reading, colour) in enumerate(zip(readings, COLOURS, strict=True)):
        for stroke in reading.strokes:
            pen.line([tuple(ZOOM * xy + ZOOM / 2) for xy in stroke.xy], fill=colour, width=2)
        reach = (reading.high - reading.low) / 2
        pen.text(
            (8, 8 + 14 * k), f"{reading.name}  {reading.value:.1f} ± {reach:.1f} {reading.unit}", fill=colour
        )
    picture.quantize(64).save(IMAGES / "measure-strokes.png", optimize=True)


if __name__ == "__main__":
    main()
