"""What a slide file is, and what is wrong with it, in lines for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.slide._names import role_of
from dtcseg.slide._open import open_slide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg.errors import SlideError
    from dtcseg.slide._base import Slide

_SOURCES = {
    "flag": "from --mpp",
    "slides.csv": "from slides.csv",
    "vendor": "from the scanner's metadata",
    "tiff_tags": "from the image's resolution tags",
}
# Outside this range a slide opens, and the scoring was not made for it.
_SCORED_MPP_UM = (0.1, 1.1)


def describe(path: Path | Sequence[Path], *, mpp_um: float | None = None, channels: Sequence[str] = ()) -> str:
    """Describe a slide.

    Parameters
    ----------
    path : Path or sequence of Path
        One slide, or one file a channel.
    mpp_um : float, optional
        Pixel size in µm that overrides the file's.
    channels : sequence of str, optional
        Channel names that override the file's.

    Returns
    -------
    str
        Lines without a trailing line break; the last ones say what is wrong, or that nothing is.

    Raises
    ------
    SlideError
        The file cannot be opened as one image at all.
    """
    with open_slide(path, mpp_um=mpp_um, channels=channels, check=False) as slide:
        problems = getattr(slide, "problems", ())
        lines = [
            f"file         {_one_line(slide.path)}",
            f"format       {slide.format_name}",
            f"size         {slide.levels[0].width_px} x {slide.levels[0].height_px} px{_size_mm(slide)}",
            f"levels       {_levels(slide)}",
            f"pixel size   {_pixel_size(slide)}",
            f"kind         {slide.kind}",
            f"channels     {_channels(slide)}",
        ]
        lines += [f"problem      {text}" for text in _problems(slide, problems)] or ["problems     none found"]
    return "\n".join(lines)


def _one_line(path: Path) -> str:
    """Show a path as it is, or escaped where it would break the line or the terminal."""
    return str(path) if str(path).isprintable() else ascii(str(path))


def _size_mm(slide: Slide) -> str:
    if slide.resolution is None:
        return ""
    level = slide.levels[0]
    width_mm = level.width_px * slide.resolution.mpp_x_um / 1e3
    return f" ({width_mm:.2f} x {level.height_px * slide.resolution.mpp_y_um / 1e3:.2f} mm)"


def _levels(slide: Slide) -> str:
    return f"{len(slide.levels)} (1:" + ", 1:".join(f"{level.downsample:g}" for level in slide.levels) + ")"


def _pixel_size(slide: Slide) -> str:
    if slide.resolution is None:
        return "unknown"
    return f"{slide.resolution.mpp_um:.4g} µm ({_SOURCES[slide.resolution.source]})"


def _channels(slide: Slide) -> str:
    if slide.kind == "brightfield":
        return "RGB"
    return ", ".join(f"{name} ({role_of(name) or 'no role known'})" for name in slide.channels)


def _problems(slide: Slide, found: Sequence[SlideError]) -> list[str]:
    texts = [error.problem for error in found]
    low, high = _SCORED_MPP_UM
    if slide.resolution is not None and not low <= slide.resolution.mpp_um <= high:
        texts.append(f"scoring is made for {low} to {high} µm per pixel, and this is {slide.resolution.mpp_um:.4g}")
    if len(slide.levels) == 1 and slide.levels[0].width_px * slide.levels[0].height_px > 10**8:
        texts.append("has no smaller levels, so an overview takes as long as reading it all; export it as a pyramid")
    return texts
