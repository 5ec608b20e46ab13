"""Weights on real images that were kept back: nuclei found and counted, beside the scikit-image recipe; false calls.

python -m dtcseg_training.evaluate_real [WEIGHTS] [--out PAGE.html]

The pixel size of most images is not known and taken from the width of their nuclei (see `real`).

Most images are smaller than a field of view, and a fifth of their nuclei are cut by the border: labelled where a sliver
of them is seen, while dtcseg counts a nucleus where its centre is. So all figures are given twice: of all nuclei, and
of those (labelled or found) that lie at least half a nuclear diameter from the border.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.errors import SlideError
from dtcseg.network.weights import resolve
from dtcseg.results.atomic import write_file
from dtcseg.score import load_engine, score_open
from dtcseg_training.calibrate import paired
from dtcseg_training.real import SOURCES, real_fields, shared_data
from dtcseg_training.real_page import Album, page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dtcseg.cells import Candidate, SlideScore
    from dtcseg.network.weights import WeightsInfo
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

    def add(self, found: npt.NDArray[np.float64], image: RealField, pairs: Sequence[tuple[int, int]]) -> None:
        """Count one image whose nuclei are labelled; x, y in pixels of what was found, and its pairs (`paired`)."""
        assert image.centres is not None
        counted = [self._counted(points, image) for points in (found, image.centres)]
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


@dataclass(frozen=True)
class JudgedImage:
    """One real image that was kept back, and what was found on it.

    Attributes
    ----------
    image : RealField
    score : SlideScore or None
        None where scoring refused the image.
    """

    image: RealField
    score: SlideScore | None

    @property
    def found_px(self) -> npt.NDArray[np.float64]:
        """x, y (N, 2) of the nuclei that were counted, in pixels."""
        return self.score.nuclei_px.astype(np.float64) if self.score else np.zeros((0, 2))

    @property
    def tumour(self) -> tuple[Candidate, ...]:
        """Candidates called tumour: all falsely."""
        return tuple(c for c in self.score.candidates if c.call == "tumour") if self.score else ()

    @property
    def labelled_px(self) -> npt.NDArray[np.float64]:
        """x, y (N, 2) of the nuclei that are labelled, in pixels."""
        return self.image.centres if self.image.centres is not None else np.zeros((0, 2))

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Which of the nuclei found are which of the labelled: half a nuclear diameter apart at most."""
        return paired(self.found_px, self.labelled_px, self.image.nucleus_px / 2)

    @property
    def f1(self) -> float:
        """F1 of all nuclei of the image; 1 where there are none."""
        both = len(self.found_px) + len(self.labelled_px)
        return 2 * len(self.pairs) / both if both else 1.0


@dataclass
class SourceFigures:
    """What was found on the images of one set.

    Attributes
    ----------
    source : str
    images, refused, candidates, calls : int
    ours, recipe : tuple of Tally
        Of all nuclei and of the inner ones.
    """

    source: str
    images: int = 0
    refused: int = 0
    candidates: int = 0
    calls: int = 0
    ours: tuple[Tally, Tally] = field(default_factory=lambda: (Tally(), Tally(inner=True)))
    recipe: tuple[Tally, Tally] = field(default_factory=lambda: (Tally(), Tally(inner=True)))

    def add(self, judged: JudgedImage) -> None:
        """Count one image in."""
        self.images += 1
        if judged.score is None:
            self.refused += 1
            return
        self.candidates += len(judged.score.candidates)
        self.calls += len(judged.tumour)
        if judged.image.centres is None:
            return
        by_recipe = recipe(judged.image)
        recipe_pairs = paired(by_recipe, judged.labelled_px, judged.image.nucleus_px / 2)
        for mine, other in zip(self.ours, self.recipe, strict=True):
            mine.add(judged.found_px, judged.image, judged.pairs)
            other.add(by_recipe, judged.image, recipe_pairs)

    def cells(self) -> list[str]:
        """Return the row of the table, in the order of `COLUMNS`."""
        row = [f"{self.source}{f' ({self.refused} refused)' if self.refused else ''}", str(self.images)]
        row.append(f"{self.ours[0].true} ({self.ours[1].true})" if self.ours[0].true else "-")
        for tally, figures in ((self.ours[0], 3), (self.ours[1], 3), (self.recipe[0], 2), (self.recipe[1], 2)):
            f1, summed, single = tally.row()
            texts = [f"{f1:.3f}", f"{100 * summed:+.1f} %", f"{100 * single:.1f} %"][:figures]
            row += texts if tally.true else ["-"] * figures
        return [*row, str(self.candidates), str(self.calls)]


COLUMNS = (
    *("set", "images", "nuclei (inner)"),
    *("F1", "count error", "of an image", "inner: F1", "count error", "of an image"),
    *("recipe: F1", "count error", "inner: F1", "count error"),
    *("candidates", "tumour calls"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write the page if it is asked for; see the module's text."""
    parser = argparse.ArgumentParser(description="Weights on real images that were kept back.")
    parser.add_argument("weights", nargs="?", default="", help="a name or a file; the default weights when not given")
    parser.add_argument("--sources", nargs="*", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--out", type=Path, metavar="PAGE.html", help="write the pictures of what went wrong as well")
    options = parser.parse_args(arguments)
    folder = shared_data()
    if folder is None:
        sys.exit("the real images are not there; say where they are in DTCSEG_SHARED")
    if options.out and not options.out.parent.is_dir():
        parser.error(f"--out {options.out}: there is no such folder")
    weights = resolve(options.weights)
    sys.stdout.write(f"{_line(COLUMNS)}\n{'|---' * len(COLUMNS)}|\n")
    judged_sets: list[tuple[SourceFigures, Album]] = []
    for source in options.sources:
        figures, album = SourceFigures(source), Album()
        for judged in judge(weights, folder, source):
            figures.add(judged)
            if options.out:
                album.add(judged)
        sys.stdout.write(_line(figures.cells()) + "\n")
        sys.stdout.flush()
        judged_sets.append((figures, album))
    if options.out:
        write_file(options.out, page(weights, judged_sets, COLUMNS).encode())
        sys.stdout.write(f"{options.out}\n")


def judge(weights: WeightsInfo, folder: Path, source: str) -> Iterator[JudgedImage]:
    """Score the images of one set that were kept back.

    Parameters
    ----------
    weights : WeightsInfo
    folder : Path
        `shared/data`.
    source : str
        One of `SOURCES`.
    """
    engine = load_engine(weights, "cpu")
    config = ScoreConfig(out=Path(), model=str(weights.path), device="cpu")
    for image in real_fields(folder, source):
        if not image.held_out:
            continue
        job = SlideJob(name=image.name, files=(image.slide.path,))
        try:
            yield JudgedImage(image, score_open(image.slide, job, engine, config))
        except SlideError:
            yield JudgedImage(image, None)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


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
