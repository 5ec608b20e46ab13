"""Bad files: each is refused in one clear line, fast, with little memory, and with the file closed again."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dtcseg.errors import MissingResolution, SlideError, UnreadableRegion, UnreadableSlide, UnsuitableSlide
from dtcseg.slide import open_slide

from .makers import HEIGHT, MAKERS, MPP, PER_CM, WIDTH, bif, picture, through_openslide


def refused(path: Path, kind: type[SlideError], *words: str, mpp_um: float | None = MPP) -> None:
    with pytest.raises(kind) as caught:
        open_slide(path, mpp_um=mpp_um)
    text = str(caught.value)
    assert "\n" not in text
    assert "".join(c if c.isprintable() else "?" for c in path.name) in text
    for word in words:
        assert word in text


def tag_offset(path: Path, code: int) -> int:
    with tifffile.TiffFile(path) as tif:
        return tif.pages[0].tags[code].valueoffset


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_no_such_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.svs", UnreadableSlide, "no such file")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.tif"
    path.touch()
    refused(path, UnreadableSlide, "is empty (0 bytes)", "copy it again")


def test_text_named_svs(tmp_path: Path) -> None:
    path = tmp_path / "note.svs"
    path.write_text("this is no slide\n" * 40, encoding="utf-8")
    refused(path, UnreadableSlide, "of no known format", "looks like text")


def test_folder_that_is_no_slide(tmp_path: Path) -> None:
    refused(tmp_path, UnreadableSlide, "neither OME-Zarr nor a DICOM series")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "pipe.tif"
    os.mkfifo(path)
    refused(path, UnreadableSlide, "neither a file nor a folder")


def test_name_with_a_null_byte() -> None:
    refused(Path("a\0b.tif"), UnreadableSlide, "cannot be opened")


def test_mirax_without_its_folder_never_shows_the_label(tmp_path: Path) -> None:
    path = tmp_path / "x.mrxs"
    Image.new("RGB", (50, 50)).save(path, format="JPEG")
    refused(path, UnreadableSlide, "MIRAX slide without its folder")


TIFFS = ["ome_rgb", "ome_fluorescence", "ome_uncompressed", "svs", "scn", "bif", "philips", "tiled", "striped",
         "striped_raw", "planar", "planar_raw", "rgba", "imagej", "jpeg_tiles", "jpeg2000_tiles"]  # fmt: skip


@pytest.mark.parametrize("name", TIFFS)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_truncated_tiff(name: str, share: float, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path).path
    assert isinstance(path, Path)
    os.truncate(path, int(path.stat().st_size * share))
    try:
        slide = open_slide(path, mpp_um=MPP)
    except UnreadableSlide:
        return
    # What was cut off is no pixel of the scan: a label, or the tables of one.
    with slide:
        assert share == 0.97
        slide.read(0, 0, 0, WIDTH, HEIGHT)


def test_truncated_tiff_says_how_much_is_missing(tmp_path: Path) -> None:
    path = MAKERS["striped_raw"](tmp_path).path
    assert isinstance(path, Path)
    os.truncate(path, path.stat().st_size // 2)
    refused(path, UnreadableSlide, "is truncated", "copy it again from the scanner")


@pytest.mark.parametrize("name", ["png", "jpeg", "czi"])
def test_other_truncated_files(name: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path).path
    assert isinstance(path, Path)
    os.truncate(path, path.stat().st_size // 2)
    refused(path, UnreadableSlide)


@pytest.mark.parametrize("side", [0, 2_000_000, 4_000_000_000])
def test_absurd_declared_size(side: int, tmp_path: Path) -> None:
    path = MAKERS["striped"](tmp_path).path
    assert isinstance(path, Path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags[256].overwrite(side, dtype="I")
    refused(path, UnreadableSlide)


def test_bomb_of_one_giant_tile(tmp_path: Path) -> None:
    """Some kB that decode to gigabytes."""
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, picture(64, 64), tile=(64, 64), compression="adobe_deflate", photometric="rgb", **PER_CM)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for code in (256, 257, 322, 323):
            tif.pages[0].tags[code].overwrite(32_768, dtype="I")
    tracemalloc.start()
    refused(path, UnreadableSlide, "decodes to 3072 MiB", "export it again")
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


def test_bomb_inside_a_tile_is_an_unreadable_region(tmp_path: Path) -> None:
    """A JPEG tile whose own header declares 60,000 x 60,000 px."""
    path = MAKERS["jpeg_tiles"](tmp_path).path
    assert isinstance(path, Path)
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    at = path.read_bytes().index(b"\xff\xc0", start, start + count)
    patch(path, at + 5, struct.pack(">HH", 60_000, 60_000))
    with open_slide(path) as slide:
        with pytest.raises(UnreadableRegion, match="declares 60000 x 60000 px"):
            slide.read(0, 0, 0, 64, 64)
        slide.read(0, 64, 64, 64, 64)


def test_bomb_as_png(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")]
    packed = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + packed)
    refused(path, UnsuitableSlide, "too large for PNG or JPEG", "pyramidal TIFF")


def test_xml_with_entities_is_not_expanded(tmp_path: Path) -> None:
    from dtcseg.slide._tiff_meta import parse_xml

    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    assert parse_xml(text) is None


@pytest.mark.parametrize(
    ("mpp", "words"),
    [
        (0.0, "given by --mpp, 0 x 0 µm"),
        (-0.5, "-0.5 x -0.5 µm"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (40.0, "is not between 0.05 and 2 µm; pass --mpp"),
    ],
)
def test_absurd_pixel_size_asked_for(mpp: float, words: str, tmp_path: Path) -> None:
    path = MAKERS["tiled"](tmp_path).path
    assert isinstance(path, Path)
    refused(path, MissingResolution, words, mpp_um=mpp)


@pytest.mark.parametrize("stated", [0.0, -1.0, 1e-9, 352.8, float("nan")])
def test_absurd_pixel_size_in_the_file(stated: float, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": stated, "PhysicalSizeY": stated}
    tifffile.imwrite(path, picture(), photometric="rgb", metadata=metadata)
    refused(path, MissingResolution, "pass --mpp", "slides.csv", mpp_um=None)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"resolution": (1, 1)},
        {"resolution": (4e4, 4e4), "resolutionunit": "NONE"},
        {"resolution": (1, 1), "resolutionunit": "INCH"},
    ],
)
def test_no_pixel_size(tags: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(), photometric="rgb", metadata=None, **tags)
    refused(path, MissingResolution, "states no pixel size; pass --mpp", "mpp column of slides.csv", mpp_um=None)


def test_pixels_that_are_no_squares(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(), photometric="rgb", resolution=(4e4, 3.6e4), resolutionunit="CENTIMETER")
    refused(path, MissingResolution, "differs by more than 5 %", mpp_um=None)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda image: {"data": image[..., 0]}, "has one channel only"),
        (lambda image: {"data": np.stack([image[..., 0]] * 5), "metadata": {"axes": "ZYX"}}, "z-stack of 5 planes"),
        (lambda image: {"data": np.stack([image[..., 0]] * 4), "metadata": {"axes": "TYX"}}, "time series of 4 images"),
        (lambda image: {"data": image.astype(np.float32), "photometric": "rgb"}, "float32 pixels"),
        (lambda image: {"data": image.astype(np.int8)[..., 0]}, "int8 pixels"),
        (lambda image: {"data": image.astype(np.uint16), "photometric": "rgb"}, "export it as 8-bit RGB"),
        (lambda image: {"data": np.moveaxis(image, -1, 0), "metadata": {"axes": "CYX"}}, "no nuclear"),
    ],
)
def test_what_is_no_slide(make: Callable[[np.ndarray], dict[str, object]], words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, **make(picture()))
    refused(path, UnsuitableSlide, words)


def test_one_channel_image_files(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(picture()[..., 0]).save(path)
    refused(path, UnsuitableSlide, "has one channel only", "slide and channel columns of slides.csv")


def test_palette_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(path, picture()[..., 0], photometric="palette", colormap=colours)
    refused(path, UnsuitableSlide, "PALETTE colours", "export it as RGB")


def test_two_scans_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(picture(), photometric="rgb", metadata={"Name": "one"})
        tif.write(picture(300, 240), photometric="rgb", metadata={"Name": "two"})
    refused(path, UnsuitableSlide, "holds 2 images")


def test_overlapping_ventana_tiles_are_joined_by_openslide(tmp_path: Path) -> None:
    with open_slide(bif(tmp_path, overlap=8).path) as slide:
        assert slide.format_name == "Ventana BIF (OpenSlide)"
        assert slide.resolution is not None
        assert slide.resolution.source == "vendor"


def test_what_no_adapter_opens_tells_all_their_reasons(tmp_path: Path) -> None:
    path = MAKERS["striped"](tmp_path).path
    assert isinstance(path, Path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags[259].overwrite(12_345)
    refused(path, UnreadableSlide, "TIFF: is compressed by a method not known here (12345)", "OpenSlide:")


def test_tile_that_the_file_leaves_out_is_white_and_a_bad_one_is_an_error(tmp_path: Path) -> None:
    path = MAKERS["striped"](tmp_path).path
    assert isinstance(path, Path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        page = tif.pages[0]
        counts = list(page.databytecounts)
        patch(path, page.dataoffsets[5], b"\xff" * counts[5])
        counts[0] = 0
        page.tags[279].overwrite(counts)
    with open_slide(path) as slide:
        assert (slide.read(0, 0, 0, WIDTH, 7) == 255).all()
        with pytest.raises(UnreadableRegion):
            slide.read(0, 0, 35, 10, 7)
        assert np.array_equal(slide.read(0, 0, 70, 10, 7), picture()[70:77, :10])


def test_openslide_recovers_after_a_bad_tile(tmp_path: Path) -> None:
    made = MAKERS["svs"](tmp_path)
    assert isinstance(made.path, Path)
    with tifffile.TiffFile(made.path) as tif:
        page = tif.pages[0]
        patch(made.path, page.dataoffsets[0], b"\0" * page.databytecounts[0])
    with through_openslide(made.path) as slide:
        with pytest.raises(UnreadableRegion):
            slide.read(0, 0, 0, 64, 64)
        good = slide.read(0, 64, 64, 64, 64)
    assert np.abs(good.astype(int) - made.levels[0][64:128, 64:128]).max() <= 3


# Half of the flips fall on the tables in the first bytes, where they do most harm.
flips = st.lists(
    st.tuples(st.one_of(st.integers(0, 400), st.integers(0, 10**6)), st.integers(0, 7)), min_size=1, max_size=6
)


@pytest.mark.parametrize("name", ["ome_rgb", "svs", "jpeg2000_tiles", "png", "czi", "mirax"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=flips, which=st.integers(0, 99))
def test_flipped_bits_never_end_in_anything_but_pixels_or_a_slide_error(
    name: str, flips: list[tuple[int, int]], which: int, tmp_path: Path
) -> None:
    folder = tmp_path / name
    if not folder.exists():
        folder.mkdir()
        MAKERS[name](folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    victim = files[which % len(files)]
    whole = victim.read_bytes()
    damaged = bytearray(whole)
    for place, bit in flips:
        damaged[place % len(damaged)] ^= 1 << bit
    victim.write_bytes(damaged)
    path = next(
        path for path in sorted(folder.iterdir()) if path.suffix in (".tif", ".svs", ".png", ".czi", ".mrxs", ".zarr")
    )
    try:
        with open_slide(path, mpp_um=MPP) as slide:
            level = slide.levels[-1]
            slide.read(len(slide.levels) - 1, 0, 0, min(level.width_px, 200), min(level.height_px, 200))
    except SlideError:
        pass
    finally:
        victim.write_bytes(whole)
