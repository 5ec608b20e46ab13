"""Weights on real images that were kept back: nuclei found and counted, beside the scikit-image recipe; false calls.

python -m dtcseg_training.evaluate_real [WEIGHTS]

The pixel size of most images is not known and taken from the width of their nuclei (see `real`).

Most images are smaller than a field of view, and a fifth of their nuclei are cut by the border: labelled where a sliver
of them is seen, while dtcseg counts a nucleus where its centre is. So all figures are given twice: of all nuclei, and
of those (labelled or found) that lie at least half a nuclear diameter from the border.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.errors import SlideError
from dtcseg.network.weights import resolve
from dtcseg.score import load_engine, score_open
from dtcseg_training.calibrate import paired
from dtcseg_training.real import SOURCES, real_fields, shared_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg_training.real import RealField

_RECIPE_SIGMA_UM = 0.75


@dataclass
class Tally:
    """Nuclei of one method over one set.

    Attributes
    ----------
    inner : bool
        Only those at least half a nuclear diameter from the image's border count.
    """

    inner: bool = False
    found_matched: int = 0
    true_matched: int = 0
    found: int = 0
    true: int = 0
    errors: list[float] = field(default_factory=list)

    def add(self, found: npt.NDArray[np.float64], image: RealField) -> None:
        """Count one image; x, y of what was found, in its pixels."""
        assert image.centres is not None
        counted = [self._counted(points, image) for points in (found, image.centres)]
        pairs = paired(found, image.centres, image.nucleus_px / 2)
        self.found_matched += sum(bool(counted[0][i]) for i, _ in pairs)
        self.true_matched += sum(bool(counted[1][j]) for _, j in pairs)
        found_here, true_here = (int(c.sum()) for c in counted)
        self.found += found_here
        self.true += true_here
        if true_here:
            self.errors.append(abs(found_here - true_here) / true_here)

    def _counted(self, points: npt.NDArray[np.float64], image: RealField) -> npt.NDArray[np.bool_]:
        if not self.inner:
            return np.ones(len(points), bool)
        level, margin = image.slide.levels[0], image.nucleus_px / 2
        far = np.array((level.width_px, level.height_px)) - 1 - margin
        return np.asarray(((points >= margin) & (points <= far)).all(axis=1))

    def row(self) -> tuple[float, float, float]:
        """F1 at half a nuclear diameter, error of the summed count, mean absolute error of an image's count."""
        precision, recall = self.found_matched / max(self.found, 1), self.true_matched / max(self.true, 1)
        return (
            2 * precision * recall / max(precision + recall, 1e-9),
            (self.found - self.true) / max(self.true, 1),
            float(np.mean(self.errors)) if self.errors else float("nan"),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; see the module's text."""
    parser = argparse.ArgumentParser(description="Weights on real images that were kept back.")
    parser.add_argument("weights", nargs="?", default="", help="a name or a file; the default weights when not given")
    parser.add_argument("--sources", nargs="*", default=list(SOURCES), choices=list(SOURCES))
    options = parser.parse_args(arguments)
    folder = shared_data()
    if folder is None:
        sys.exit("the real images are not there; say where they are in DTCSEG_SHARED")
    out = sys.stdout
    figures = "F1 | count error | of an image | inner: F1 | count error | of an image"
    recipe_figures = "recipe: F1 | count error | inner: F1 | count error"
    out.write(f"| set | images | nuclei (inner) | {figures} | {recipe_figures} | candidates | tumour calls |\n")
    out.write("|---" * 15 + "|\n")
    for source in options.sources:
        out.write(_judge(options.weights, folder, source) + "\n")
        out.flush()


def _judge(model: str, folder: Path, source: str) -> str:
    engine = load_engine(resolve(model), "cpu")
    config = ScoreConfig(out=Path(), model=model, device="cpu")
    ours, theirs = ((Tally(), Tally(inner=True)) for _ in range(2))
    images, candidates, calls, refused = 0, 0, 0, 0
    for image in real_fields(folder, source):
        if not image.held_out:
            continue
        images += 1
        try:
            score = score_open(image.slide, SlideJob(name=image.name, files=(image.slide.path,)), engine, config)
        except SlideError:
            refused += 1
            continue
        candidates += len(score.candidates)
        calls += sum(c.call == "tumour" for c in score.candidates)
        if image.centres is not None:
            by_recipe = recipe(image)
            for mine, other in zip(ours, theirs, strict=True):
                mine.add(score.nuclei_px.astype(np.float64), image)
                other.add(by_recipe, image)
    cells = [f"{source}{f' ({refused} refused)' if refused else ''}", str(images)]
    cells.append(f"{ours[0].true} ({ours[1].true})" if ours[0].true else "-")
    for tally, figures in ((ours[0], 3), (ours[1], 3), (theirs[0], 2), (theirs[1], 2)):
        f1, summed, single = tally.row()
        texts = [f"{f1:.3f}", f"{100 * summed:+.1f} %", f"{100 * single:.1f} %"][:figures]
        cells += texts if tally.true else ["-"] * figures
    return "| " + " | ".join([*cells, str(candidates), str(calls)]) + " |"


def recipe(image: RealField) -> npt.NDArray[np.float64]:
    """Count nuclei as scikit-image's examples do: Otsu on the nuclear stain, peaks of the distance transform."""
    from scipy import ndimage
    from skimage.color import rgb2hed
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.measure import label

    slide = image.slide
    pixels = slide.read(0, 0, 0, slide.levels[0].width_px, slide.levels[0].height_px)
    mpp_um = slide.resolution.mpp_um if slide.resolution else 1.0
    nuclear = rgb2hed(pixels)[..., 0] if slide.kind == "brightfield" else pixels[..., 0].astype(float)
    nuclear = gaussian(nuclear, _RECIPE_SIGMA_UM / mpp_um)  # type: ignore[no-untyped-call]
    mask = nuclear > threshold_otsu(nuclear)  # type: ignore[no-untyped-call]
    distance = ndimage.distance_transform_edt(mask)
    apart = max(round(image.nucleus_px / 3), 1)
    pieces = label(mask)  # type: ignore[no-untyped-call]
    peaks = peak_local_max(  # type: ignore[no-untyped-call]
        distance, min_distance=apart, labels=pieces, exclude_border=False
    )
    return np.asarray(peaks[:, ::-1], np.float64)


if __name__ == "__main__":
    main()
