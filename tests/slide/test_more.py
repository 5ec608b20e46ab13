"""Pixel sizes and their order, channel groups, levels, colours of JPEG 2000, and `describe`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from dtcseg.errors import MissingResolution, UnsuitableSlide
from dtcseg.info import describe
from dtcseg.slide import open_slide
from dtcseg.slide._common import downsample_of, make_levels
from dtcseg.slide._jpeg import jpeg_is_rgb

from .makers import MAKERS, MPP, PER_CM, picture


def one(name: str, folder: Path) -> Path:
    path = MAKERS[name](folder).path
    assert isinstance(path, Path)
    return path


def test_pixel_size_asked_for_comes_first_and_its_source_is_kept(tmp_path: Path) -> None:
    path = one("svs", tmp_path)
    for source in ("flag", "slides.csv"):
        with open_slide(path, mpp_um=0.7, mpp_source=source) as slide:
            assert slide.resolution is not None
            assert (slide.resolution.mpp_um, slide.resolution.source) == (pytest.approx(0.7), source)


def test_without_a_vendor_value_the_tiff_tags_are_used(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    tifffile.imwrite(
        path, picture(), tile=(64, 64), description="Aperio Image Library v1|AppMag = 20", metadata=None, **PER_CM
    )
    with open_slide(path) as slide:
        assert slide.resolution is not None
        assert slide.resolution.source == "tiff_tags"
        assert slide.resolution.mpp_um == pytest.approx(MPP)


def test_magnification_is_never_taken_for_a_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, picture(), tile=(64, 64), description="Aperio Image Library v1|AppMag = 20", metadata=None)
    with pytest.raises(MissingResolution, match="states no pixel size"):
        open_slide(path)
    with open_slide(path, check=False) as slide:
        assert slide.resolution is None


def test_channels_of_a_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image = picture(channels=3, dtype=np.uint16)
    tifffile.imwrite(path, np.moveaxis(image, -1, 0), photometric="minisblack", metadata=None, **PER_CM)
    with pytest.raises(UnsuitableSlide, match="'channel 1', 'channel 2', 'channel 3'"):
        open_slide(path)
    with open_slide(path, channels=("CK", "", "DAPI")) as slide:
        assert slide.channels == ("CK", "", "DAPI")
        assert np.array_equal(slide.read(0, 5, 6, 70, 80), image[6:86, 5:75])
    with pytest.raises(UnsuitableSlide, match=r"has 3 channels and slides\.csv names 2"):
        open_slide(path, channels=("CK", "DAPI"))


def test_channels_named_red_green_blue_are_brightfield(tmp_path: Path) -> None:
    path, image = tmp_path / "a.ome.tif", picture()
    metadata = {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    tifffile.imwrite(path, np.moveaxis(image, -1, 0), photometric="minisblack", metadata=metadata)
    with open_slide(path, mpp_um=MPP) as slide:
        assert slide.kind == "brightfield"
        assert np.array_equal(slide.read(0, 0, 0, 50, 60), image[:60, :50])


def group(folder: Path, *sizes: tuple[int, int]) -> list[Path]:
    paths = []
    for number, (width, height) in enumerate(sizes):
        paths.append(folder / f"{number}.png")
        Image.fromarray(picture(width, height)[..., 0]).save(paths[-1])
    return paths


def test_channel_files_of_two_sizes_are_refused(tmp_path: Path) -> None:
    paths = group(tmp_path, (60, 50), (60, 51))
    with pytest.raises(UnsuitableSlide, match=r"1.png: has another size \(60 x 51 px\) than 0.png \(60 x 50 px\)"):
        open_slide(paths, mpp_um=MPP, channels=("DAPI", "CK"))


def test_channel_files_are_ordered_as_given(tmp_path: Path) -> None:
    paths = group(tmp_path, (60, 50), (60, 50))
    with open_slide(paths[::-1], mpp_um=MPP, channels=("CK", "DAPI")) as slide:
        assert slide.path == paths[1]
        assert slide.channels == ("CK", "DAPI")
    with pytest.raises(UnsuitableSlide, match="names 1 channels for 2 files"):
        open_slide(paths, mpp_um=MPP, channels=("CK",))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((4443, 3567, 2221, 1783), 2.0),
        ((4443, 3567, 2222, 1784), 2.0),
        ((100, 100, 25, 25), 4.0),
        ((1000, 1000, 300, 300), 1000 / 300),
        ((1000, 1000, 500, 400), None),
        ((100, 100, 200, 200), None),
        ((37, 31, 1, 1), 31.0),
    ],
)
def test_factor_between_levels(sizes: tuple[int, int, int, int], expected: float | None) -> None:
    found = downsample_of(*sizes)
    assert found == (
        pytest.approx(expected, rel=0.2) if sizes[2] == 1 else pytest.approx(expected) if expected else None
    )


def test_levels_are_ordered_and_repeats_left_out() -> None:
    kept, levels = make_levels([(400, 400), (100, 100), (200, 200), (200, 200), (90, 30)])
    assert kept == (0, 2, 1)
    assert [level.downsample for level in levels] == [1.0, 2.0, 4.0]


def test_aperio_jpeg2000_with_ycbcr_has_the_colours_that_openslide_reads(tmp_path: Path) -> None:
    path, image = tmp_path / "a.svs", picture(192, 128)
    stored = np.asarray(Image.fromarray(image).convert("YCbCr"))
    text = f"Aperio Image Library v1|MPP = {MPP}"
    tifffile.imwrite(
        path, stored, tile=(64, 64), compression="jpeg2000", compressionargs={"codecformat": "j2k", "mct": False},
        photometric="rgb", description=text, metadata=None,
    )  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags[259].overwrite(33_003)
    with open_slide(path) as slide, openslide.OpenSlide(str(path)) as other:
        ours = slide.read(0, 0, 0, 192, 128).astype(int)
        theirs = np.asarray(other.read_region((0, 0), 0, (192, 128)))[..., :3].astype(int)
    assert np.abs(ours - image).max() <= 3
    assert np.abs(ours - theirs).max() <= 3


def test_jpeg_colours_follow_the_marks_of_the_stream() -> None:
    frame = b"\xff\xc0\x00\x11\x08\x00\x08\x00\x08\x03%s\x11\x00%s\x11\x00%s\x11\x00"
    plain, named = frame % (b"\1", b"\2", b"\3"), frame % (b"R", b"G", b"B")
    jfif = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
    assert jpeg_is_rgb(b"\xff\xd8" + plain, default=True)
    assert not jpeg_is_rgb(b"\xff\xd8" + plain, default=False)
    assert jpeg_is_rgb(b"\xff\xd8" + named, default=False)
    assert not jpeg_is_rgb(b"\xff\xd8" + jfif + plain, default=True)
    assert jpeg_is_rgb(b"\xff\xd8" + adobe + b"\0" + plain, default=False)
    assert not jpeg_is_rgb(b"\xff\xd8" + adobe + b"\1" + plain, default=True)


def test_description_of_a_good_slide(tmp_path: Path) -> None:
    text = describe(one("ome_fluorescence", tmp_path))
    assert "OME-TIFF" in text
    assert "333 x 250 px (0.08 x 0.06 mm)" in text
    assert "2 (1:1, 1:2)" in text
    assert "0.25 µm (from the scanner's metadata)" in text
    assert "DAPI (nuclear), AE1/AE3-AF488 (cytokeratin), CD45 (leukocyte)" in text
    assert text.endswith("problems     none found")


def test_description_of_a_slide_with_problems(tmp_path: Path) -> None:
    path = tmp_path / "grey\nname.png"
    Image.fromarray(picture()[..., 0]).save(path)
    lines = describe(path).splitlines()
    assert "pixel size   unknown" in lines
    problems = [line for line in lines if line.startswith("problem ")]
    assert len(problems) == 2
    assert "pass --mpp" in problems[0]
    assert "has one channel only" in problems[1]
    assert len(lines) == 9
    assert "scoring is made for 0.1 to 1.1" in describe(one("tiled", tmp_path), mpp_um=1.5)
