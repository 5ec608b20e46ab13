"""Which adapter opens a file: chosen by what is in it, never by its name."""

from __future__ import annotations

import importlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from dtcseg.errors import MissingResolution, UnreadableSlide, UnsuitableSlide
from dtcseg.slide._common import ASK_FOR_COPY, DamagedSlide, FileSlide, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtcseg.slide._base import ResolutionSource, Slide

# name for people, module, class; modules are imported when first needed
_ADAPTERS = {
    "tiff": ("TIFF", "dtcseg.slide._tiff", "TiffSlide"),
    "openslide": ("OpenSlide", "dtcseg.slide._openslide", "OpenSlideSlide"),
    "dicom": ("DICOM", "dtcseg.slide._dicom", "DicomSlide"),
    "zarr": ("OME-Zarr", "dtcseg.slide._zarr", "ZarrSlide"),
    "czi": ("CZI", "dtcseg.slide._czi", "CziSlide"),
    "image": ("image", "dtcseg.slide._image", "ImageSlide"),
}
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FORMATS_KNOWN = (
    "OME-TIFF and other TIFF, SVS, NDPI, SCN, BIF, Philips TIFF, MIRAX, DICOM, OME-Zarr, CZI, PNG and JPEG are read"
)


def open_slide(
    path: Path | str | Sequence[Path | str],
    *,
    mpp_um: float | None = None,
    mpp_source: ResolutionSource = "flag",
    channels: Sequence[str] = (),
    check: bool = True,
) -> Slide:
    """Open a slide for reading.

    Parameters
    ----------
    path : Path or sequence of Path
        One file (a folder for OME-Zarr and DICOM), or one file a channel.
    mpp_um : float, optional
        Pixel size of level 0 in µm that overrides what the file says.
    mpp_source : {"flag", "slides.csv"}, optional
        Where `mpp_um` was learned; it is recorded and named in messages.
    channels : sequence of str, optional
        Channel names that override the file's: one a file for a channel group, else one a channel of the file.
    check : bool, optional
        With False a slide without a usable pixel size or without the channels needed is opened too; what is wrong
        is then in its `problems`, and `resolution` may be None.

    Returns
    -------
    Slide

    Raises
    ------
    UnreadableSlide
        Missing, empty, truncated, damaged, or of no known format.
    UnsuitableSlide
        Read well, but it cannot be scored: a z-stack, one channel, no cytokeratin channel.
    MissingResolution
        No pixel size is known, or it is absurd.
    """
    settings = Settings(mpp_um, mpp_source, tuple(channels), check)
    if isinstance(path, (str, Path)):
        return open_one(Path(path), settings)
    paths = [Path(one) for one in path]
    if not paths:
        raise ValueError("open_slide needs at least one file")
    if len(paths) == 1:
        return open_one(paths[0], settings)
    from dtcseg.slide._channels import ChannelGroup

    return ChannelGroup(paths, settings)


def open_one(path: Path, settings: Settings) -> FileSlide:
    """Open one file with the first adapter that can, or say why none could.

    Parameters
    ----------
    path : Path
    settings : Settings

    Raises
    ------
    UnreadableSlide, UnsuitableSlide, MissingResolution
        As `open_slide`.
    """
    failures: list[str] = []
    for key in choose_adapters(path):
        name, module, cls = _ADAPTERS[key]
        try:
            adapter: type[FileSlide] = getattr(importlib.import_module(module), cls)
            return adapter(path, settings)
        except (DamagedSlide, UnsuitableSlide, MissingResolution):
            raise
        except UnreadableSlide as error:
            failures.append(f"{name}: {error.problem}")
    if len(failures) == 1:
        raise UnreadableSlide(path, _one_line(failures[0].partition(": ")[2]))
    raise UnreadableSlide(path, _one_line("cannot be opened. " + ". ".join(failures)))


def choose_adapters(path: Path) -> tuple[str, ...]:
    """Names of the adapters to try, in order, by the first bytes of a file or the contents of a folder.

    Parameters
    ----------
    path : Path

    Raises
    ------
    UnreadableSlide
        There is no such file, it is empty, or nothing known begins like it.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _choose_for_folder(path)
        if not stat.S_ISREG(mode):
            # Reading a pipe or a device would wait for ever.
            raise UnreadableSlide(path, "is neither a file nor a folder")
        with path.open("rb") as file:
            head = file.read(256)
    except FileNotFoundError:
        raise UnreadableSlide(path, "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UnreadableSlide(path, f"cannot be opened ({reason})") from error
    if not head:
        raise UnreadableSlide(path, f"is empty (0 bytes); {ASK_FOR_COPY}")
    return _choose_for_head(path, head)


def _choose_for_head(path: Path, head: bytes) -> tuple[str, ...]:
    if head.startswith(_TIFF_MAGIC):
        return ("tiff", "openslide")
    if head.startswith(b"ZISRAWFI"):
        return ("czi",)
    if head[128:132] == b"DICM":
        return ("dicom",)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ("image",)
    if head.startswith(b"\xff\xd8\xff"):
        # The file of a MIRAX slide is a JPEG: a photograph of its label. The scan is in the folder beside it.
        if (path.parent / path.stem / "Slidedat.ini").is_file():
            return ("openslide",)
        if path.suffix.casefold() == ".mrxs":
            raise UnreadableSlide(
                path,
                f"is a MIRAX slide without its folder {path.stem}; copy the folder with its Slidedat.ini beside it",
            )
        return ("image",)
    if head.startswith(b"SQLite format 3\0") or b"Virtual Microscope Specimen]" in head:
        return ("openslide",)
    looks_like = "text" if all(byte in b"\t\n\r\f" or byte >= 32 for byte in head) else "no image"
    raise UnreadableSlide(path, f"is of no known format (its content looks like {looks_like}); {_FORMATS_KNOWN}")


def _choose_for_folder(path: Path) -> tuple[str, ...]:
    if is_zarr(path):
        return ("zarr",)
    if is_dicom_folder(path):
        return ("dicom",)
    raise UnreadableSlide(path, "is a folder, and neither OME-Zarr nor a DICOM series; name the slide file itself")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group, of either version.

    Parameters
    ----------
    path : Path
    """
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zattrs"))


def is_dicom_folder(path: Path) -> bool:
    """Whether a folder holds DICOM files (and so is one slide).

    Parameters
    ----------
    path : Path
    """
    for member in sorted(path.iterdir()):
        if member.name.startswith(".") or not member.is_file():
            continue
        if member.suffix.casefold() == ".dcm" or not member.suffix:
            with member.open("rb") as file:
                if file.read(132)[128:] == b"DICM":
                    return True
    return False


def _one_line(text: str) -> str:
    return " ".join(text.split())
