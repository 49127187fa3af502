"""Peak memory of fit and predict for a small and a large folder of the same radiographs.

    python benchmarks/memory.py IMAGES EXEMPLAR.csv --counts 150,5000 --steps 30

The large folder holds links to the same files under other names, so only the number of radiographs differs. Prediction is
measured on `--marked` of them, because it reaches its peak memory at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onemark
from common import describe_machine, link_images, run_command, work_folder


def main() -> None:
    """Fit and predict folders of growing size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("exemplar", type=Path)
    parser.add_argument("--counts", default="150,5000")
    parser.add_argument("--steps", type=int, default=30, help="steps of each stage")
    parser.add_argument("--marked", type=int, default=200, help="largest number of radiographs to predict")
    options = parser.parse_args()
    print(describe_machine())
    names = onemark.open_cohort(options.images).names
    for count in map(int, options.counts.split(",")):
        work = work_folder(None)
        folder = link_images(options.images, names, work / "all")
        for i in range(len(names), count):
            (folder / f"copy-{i:05d}-{names[i % len(names)]}").symlink_to(
                (options.images / names[i % len(names)]).resolve()
            )
        steps = [
            w for slot in ("match", "detect", "refine") for w in ("--set", f"{slot}.steps={options.steps}")
        ]
        fit = run_command("fit", folder, "--exemplar", options.exemplar, "--out", work / "run", *steps)
        some = link_images(
            folder, [p.name for p in sorted(folder.iterdir())[: options.marked]], work / "some"
        )
        predict = run_command("predict", work / "run", some, "--out", work / "predictions.csv")
        print(
            f"{count:6d} radiographs: fit {fit.peak_mib:.0f} MiB, {fit.seconds:.0f} s; predict {predict.peak_mib:.0f} MiB"
        )


if __name__ == "__main__":
    main()
