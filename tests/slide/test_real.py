"""Scanners' own files: opened or refused clearly, and pixel by pixel what a second reader reads."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from shared_data import READERS, needs_readers

from dtcseg.errors import UnreadableSlide
from dtcseg.slide import open_slide

from .comparisons import REAL, Real, report

pytestmark = [pytest.mark.realdata, needs_readers]

# libjpeg-turbo decodes alike in all readers; pydicom converts colours on its own, and rounds some by 1.
LARGEST_DIFFERENCE = {"dicom/cmu-1-small-region": 1}


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name.encode("ascii", "backslashreplace").decode())
def test_opened_as_a_second_reader_opens_it_or_refused_clearly(real: Real) -> None:
    slide, trouble, difference = report(real, READERS)
    assert "\n" not in trouble
    if real.refusal:
        assert real.refusal in trouble
    else:
        assert trouble == ""
        assert slide is not None
        assert difference is not None
        assert difference <= LARGEST_DIFFERENCE.get(real.name, 0)


def test_every_real_file_is_in_the_list() -> None:
    named = {Path(file).parts[:2] for real in REAL for file in real.files}
    present = {path.relative_to(READERS).parts[:2] for path in READERS.glob("*/*")}
    licences = {("broken", "COPYING.LESSER"), ("zeiss", "LICENSE")}
    assert present - licences == named


@pytest.mark.parametrize(
    ("file", "size", "n_levels", "mpp", "source"),
    [
        ("aperio/CMU-1-Small-Region.svs", (2220, 2967), 1, 0.499, "vendor"),
        ("hamamatsu/test3-DAPI.ndpi", (3968, 4864), 4, 0.228175, "tiff_tags"),
        ("dicom/cmu-1-small-region", (2220, 2967), 3, 0.499, "vendor"),
        ("zeiss/nuc_small.czi", (320, 240), 1, 0.457151, "vendor"),
    ],
)
def test_what_the_scanner_says(file: str, size: tuple[int, int], n_levels: int, mpp: float, source: str) -> None:
    with open_slide(READERS / file, check=False) as slide:
        assert (slide.levels[0].width_px, slide.levels[0].height_px) == size
        assert len(slide.levels) == n_levels
        assert slide.resolution is not None
        assert slide.resolution.mpp_um == pytest.approx(mpp, rel=1e-5)
        assert slide.resolution.source == source


@pytest.mark.parametrize("file", ["dicom/cmu-1-small-region", "hamamatsu/test3-DAPI.ndpi", "zeiss/WellD6_S1.czi"])
def test_keeps_the_contract(file: str) -> None:
    """What `test_contract` asks of written files, where only a scanner's file can answer."""
    with open_slide(READERS / file, check=False) as slide:
        for number, level in enumerate(slide.levels):
            whole = slide.read(number, 0, 0, level.width_px, level.height_px)
            x, y = level.width_px - 77, level.height_px - 61
            assert np.array_equal(slide.read(number, x, y, 77, 61), whole[y:, x:])
            assert np.array_equal(slide.read(number, 33, 41, 90, 50), whole[41:91, 33:123])
            with pytest.raises(ValueError, match="is not inside"):
                slide.read(number, x, y, 78, 61)
        expected = slide.read(0, 10, 20, 30, 40)
        slide.close()
        assert np.array_equal(slide.read(0, 10, 20, 30, 40), expected)
        with slide.clone() as clone, pickle.loads(pickle.dumps(slide)) as copy:
            assert np.array_equal(clone.read(0, 10, 20, 30, 40), expected)
            assert np.array_equal(copy.read(0, 10, 20, 30, 40), expected)


@pytest.mark.parametrize(
    "file", ["aperio/CMU-1-Small-Region.svs", "hamamatsu/test3-DAPI.ndpi", "zeiss/S3_1Pos_2Mosaic_T1_Z1_CH1.czi"]
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(file: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / Path(file).name
    shutil.copyfile(READERS / file, path)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(UnreadableSlide):
        open_slide(path, check=False)


def test_truncated_dicom_level(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    shutil.copytree(READERS / "dicom" / "cmu-1-small-region", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    os.truncate(folder / "level-0-frames-0-30.dcm", 400_000)
    with pytest.raises(UnreadableSlide, match=r"is truncated|damaged"):
        open_slide(folder)


def test_one_dicom_file_is_a_slide_of_one_level() -> None:
    with open_slide(READERS / "dicom" / "cmu-1-small-region" / "level-0-frames-0-30.dcm") as slide:
        assert len(slide.levels) == 1


def test_labels_and_overviews_are_no_levels() -> None:
    """The Aperio file has thumbnail, label and macro; the NDPI files macro and map."""
    with open_slide(READERS / "aperio" / "CMU-1-Small-Region.svs") as slide:
        assert len(slide.levels) == 1
        assert "label" not in repr(vars(slide)).casefold()
    with open_slide(READERS / "hamamatsu" / "test3-DAPI.ndpi", check=False) as slide:
        assert (1188, 406) not in {(level.width_px, level.height_px) for level in slide.levels}
