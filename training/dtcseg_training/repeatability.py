"""Whether cells keep their calls when a slide is turned, mirrored, compressed again or scanned coarser.

python -m dtcseg_training.repeatability [WEIGHTS] [--fields N]
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.spatial import cKDTree

from dtcseg.cells import STAINS
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.network.weights import resolve
from dtcseg.score import load_engine, score_open
from dtcseg_training.fields import ArraySlide
from dtcseg_training.figures import Share
from dtcseg_training.simulate import draw_spec, render_field
from dtcseg_training.simulate.study import draw_counts

if TYPE_CHECKING:
    from dtcseg.cells import Candidate
    from dtcseg.network.engine import Engine
    from dtcseg.slide._base import PixelArray

_SEED = 8_000_000
_MPP_UM = 0.25
_SIDE_UM = 1000.0
_NEAR_UM = 6.0
"""Two candidates this close are the same cell: half the width of the smallest tumour cell."""
_QUALITY = 70
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """One way to show the same field.

    Attributes
    ----------
    image : callable
        Pixels (H, W, C) to pixels of the variant.
    back : callable
        Places (N, 2) on the variant, and the height and width of the field, to places on the field.
    coarser : int
        Pixels of the field for one of the variant.
    """

    image: Callable[[PixelArray], PixelArray]
    back: Callable[[Points, int, int], Points]
    coarser: int = 1


@dataclass(frozen=True)
class Repeat:
    """What one variant did to the calls of the field as it is.

    Attributes
    ----------
    same_call : Share
        Of the field's candidates, those with the same of the four calls.
    same_tumour : Share
        Of the candidates that are called tumour in the one or the other, those called so in both.
    """

    same_call: Share
    same_tumour: Share


def _halved(pixels: PixelArray) -> PixelArray:
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, -1).mean(axis=(1, 3))
    return cast("PixelArray", np.round(blocks).astype(pixels.dtype))


def _compressed(pixels: PixelArray) -> PixelArray:
    """Compress RGB, or each channel by itself; 16 bits are compressed as the 8 that span them."""
    if pixels.dtype != np.uint8:
        top = max(int(pixels.max()), 1)
        eight = np.round(pixels / top * 255).astype(np.uint8)
        return cast("PixelArray", np.round(_compressed(eight) / 255 * top).astype(pixels.dtype))
    planes = [pixels] if pixels.shape[2] == 3 else [pixels[..., k] for k in range(pixels.shape[2])]
    decoded = []
    for plane in planes:
        stream = io.BytesIO()
        Image.fromarray(plane).save(stream, "JPEG", quality=_QUALITY)
        decoded.append(np.asarray(Image.open(stream)))
    return cast("PixelArray", decoded[0] if len(decoded) == 1 else np.stack(decoded, axis=-1))


def _axes(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Points:
    return np.stack([x, y], axis=1).astype(np.float64)


VARIANTS: dict[str, Variant] = {
    "quarter turn": Variant(lambda p: np.rot90(p), lambda p, h, w: _axes(w - 1 - p[:, 1], p[:, 0])),
    "half turn": Variant(lambda p: np.rot90(p, 2), lambda p, h, w: _axes(w - 1 - p[:, 0], h - 1 - p[:, 1])),
    "mirror": Variant(lambda p: p[:, ::-1], lambda p, h, w: _axes(w - 1 - p[:, 0], p[:, 1])),
    f"JPEG {_QUALITY}": Variant(_compressed, lambda p, h, w: p),
    "0.5 µm/px": Variant(_halved, lambda p, h, w: 2 * p + 0.5, coarser=2),
}


def repeat(engine: Engine, pixels: PixelArray, channels: tuple[str, ...], mpp_um: float) -> dict[str, Repeat]:
    """Score a field and all its variants.

    Parameters
    ----------
    engine : Engine
    pixels : (H, W, C) uint8 or uint16
    channels : tuple of str
    mpp_um : float

    Returns
    -------
    dict of Repeat
        By the name of the variant.
    """
    height, width = pixels.shape[:2]
    truth = _score(engine, pixels, channels, mpp_um)
    results = {}
    for name, variant in VARIANTS.items():
        image = cast("PixelArray", np.ascontiguousarray(variant.image(pixels)))
        found = _score(engine, image, channels, mpp_um * variant.coarser)
        places = variant.back(_places(found), height, width)
        results[name] = _compare(truth, found, places, mpp_um)
    return results


def _score(engine: Engine, pixels: PixelArray, channels: tuple[str, ...], mpp_um: float) -> Sequence[Candidate]:
    slide = ArraySlide(pixels, mpp_um, channels)
    job = SlideJob(name="field", files=(slide.path,))
    return score_open(slide, job, engine, ScoreConfig(out=Path(), device="cpu")).candidates


def _places(candidates: Sequence[Candidate]) -> Points:
    return np.array([(c.x_px, c.y_px) for c in candidates], np.float64).reshape(-1, 2)


def _compare(truth: Sequence[Candidate], found: Sequence[Candidate], places: Points, mpp_um: float) -> Repeat:
    """Pair candidates that lie on one place; one without a partner counts as changed."""
    calls = ["" for _ in truth]
    alone = sum(c.call == "tumour" for c in found)
    if len(truth) and len(found):
        near, partner = cKDTree(places).query(_places(truth), distance_upper_bound=_NEAR_UM / mpp_um)
        for i, (distance, j) in enumerate(zip(near, partner, strict=True)):
            calls[i] = found[j].call if np.isfinite(distance) else ""
    both = sum(c.call == call == "tumour" for c, call in zip(truth, calls, strict=True))
    either = sum(c.call == "tumour" for c in truth) + alone - both
    same = sum(c.call == call for c, call in zip(truth, calls, strict=True))
    return Repeat(Share(same, len(truth)), Share(both, max(either, both)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table over simulated fields of 1 mm² at 0.25 µm/px; see the module's text for the call."""
    parser = argparse.ArgumentParser(description="Do the same cells get the same call?")
    parser.add_argument("weights", nargs="?", default="", help="a name or a file; the default weights when not given")
    parser.add_argument("--fields", type=int, default=40)
    options = parser.parse_args(arguments)
    engine = load_engine(resolve(options.weights), "cpu")
    total = {name: [0, 0, 0, 0] for name in VARIANTS}
    side = round(_SIDE_UM / _MPP_UM)
    for index in range(options.fields):
        rng = np.random.default_rng([_SEED, index])
        stain = STAINS[index % len(STAINS)]
        spec = draw_spec(rng, stain=stain, mpp_um=_MPP_UM, size_px=(side, side), enriched=False)
        field = render_field(replace(spec, counts=draw_counts(rng, spec, enriched=True)), rng)
        for name, result in repeat(engine, field.image, field.channels, _MPP_UM).items():
            same, tumour = result.same_call, result.same_tumour
            total[name] = [
                a + b for a, b in zip(total[name], (same.count, same.total, tumour.count, tumour.total), strict=True)
            ]
    sys.stdout.write(
        "| shown again as | candidates with the same call | tumour in both, of tumour in either |\n|---|---|---|\n"
    )
    for name, (same_count, same_total, count, of) in total.items():
        sys.stdout.write(f"| {name} | {Share(same_count, same_total)} | {Share(count, of)} |\n")


if __name__ == "__main__":
    main()
