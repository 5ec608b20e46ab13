"""Weights on real images that were kept back: nuclei found and counted, beside the scikit-image recipe; false calls.

python -m dtcseg_training.evaluate_real [WEIGHTS]

The pixel size of most images is not known and taken from the width of their nuclei (see `real`).
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
from dtcseg_training.calibrate import matches
from dtcseg_training.real import SOURCES, real_fields, shared_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg_training.real import RealField

_RECIPE_SIGMA_UM = 0.75


@dataclass
class _Tally:
    """Nuclei of one method over one set."""

    matched: int = 0
    found: int = 0
    true: int = 0
    errors: list[float] = field(default_factory=list)

    def add(self, found: npt.NDArray[np.float64], image: RealField) -> None:
        assert image.centres is not None
        self.matched += matches(found, image.centres, image.nucleus_px / 2)
        self.found += len(found)
        self.true += len(image.centres)
        self.errors.append(abs(len(found) - len(image.centres)) / max(len(image.centres), 1))

    def row(self) -> tuple[float, float, float]:
        """F1 at half a nuclear diameter, error of the summed count, mean absolute error of an image's count."""
        f1 = 2 * self.matched / max(self.found + self.true, 1)
        return (
            f1,
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
    out.write("| set | images | nuclei | F1 | count error | of an image | recipe: F1 | count error | of an image |")
    out.write(" candidates | tumour calls |\n" + "|---" * 11 + "|\n")
    for source in options.sources:
        out.write(_judge(options.weights, folder, source) + "\n")
        out.flush()


def _judge(model: str, folder: Path, source: str) -> str:
    engine = load_engine(resolve(model), "cpu")
    config = ScoreConfig(out=Path(), model=model, device="cpu")
    ours, theirs, images, candidates, calls, refused = _Tally(), _Tally(), 0, 0, 0, 0
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
            ours.add(score.nuclei_px.astype(np.float64), image)
            theirs.add(recipe(image), image)
    cells = [f"{source}{f' ({refused} refused)' if refused else ''}", str(images), str(ours.true or "-")]
    for tally in (ours, theirs):
        cells += [f"{v:.3f}" if tally.true else "-" for v in tally.row()[:1]]
        cells += [f"{100 * v:+.1f} %" if tally.true else "-" for v in tally.row()[1:2]]
        cells += [f"{100 * v:.1f} %" if tally.true else "-" for v in tally.row()[2:]]
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
