"""What a scoring run was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dtcseg.cells import Role, Stain

PREPARED_SHARE, SCREENED_SHARE = 0.05, 0.85
"""How much of a slide is done when it was looked at small, and after the first look."""


@dataclass(frozen=True)
class SlideJob:
    """One slide to score.

    Attributes
    ----------
    name : str
        Name of its results folder, unique in the run and safe on every file system.
    files : tuple of Path
        One file, or one file a channel where each fluorescence channel is a file of its own.
    channels : tuple of str
        Channel names from `slides.csv`, one a file; empty when the files name them.
    patient, timepoint : str
        Empty when `slides.csv` does not say.
    role : Role
    stain : Stain or None
        From `--stain` or `slides.csv`; None: recognise it.
    stain_source : str
        "flag", "slides.csv" or "" (to be recognised).
    mpp_um : float or None
        From `--mpp` or `slides.csv`; None: ask the file.
    mpp_source : str
        "flag", "slides.csv" or "".
    expected : float or None
        Tumour cells spiked, of a positive control; from `slides.csv`.
    """

    name: str
    files: tuple[Path, ...]
    channels: tuple[str, ...] = ()
    patient: str = ""
    timepoint: str = ""
    role: Role = "sample"
    stain: Stain | None = None
    stain_source: str = ""
    mpp_um: float | None = None
    mpp_source: str = ""
    expected: float | None = None


@dataclass(frozen=True)
class ScoreConfig:
    """Settings of one scoring run; every default lives here and nowhere else.

    Attributes
    ----------
    out : Path
        The results folder.
    model : str
        Name in the weights index, or path of a weights file; "" is the index's default.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    workers : int
        Processes that score slides side by side, at least 1.
    scheduler : str or None
        Address of a Dask scheduler; None: this machine.
    tile_px : int
        Side of a tile's core at the screening resolution. Results do not depend on it.
    batch : int
        Tiles that are read together and, on a GPU, go through the network at once; 0: one on a CPU, eight on a GPU.
        Results do not depend on it.
    count : {"all", "sampled"}
        Count every nucleus, or those of a random sample of fields; candidates are sought everywhere either way.
    limit_s : float
        A slide that makes no progress for so long hangs: its process is ended, and the slide tried once more.
    """

    out: Path
    model: str = ""
    device: str = "auto"
    workers: int = 1
    scheduler: str | None = None
    tile_px: int = 1152
    batch: int = 0
    count: Literal["all", "sampled"] = "all"
    limit_s: float = 1200.0
