"""The arrays that napari reads a slide through behave like the NumPy arrays they stand for."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from dtcseg_napari import _pyramid
from dtcseg_napari._pyramid import LevelArray, Pyramid

from dtcseg.errors import UnreadableRegion
from dtcseg.slide import Level, Slide


class MemorySlide(Slide):
    """A slide of one level in memory; counts its reads, and one place of it can be damaged."""

    def __init__(self, pixels: npt.NDArray[Any], damaged: tuple[int, int] | None = None) -> None:
        self.path = Path("memory")
        self.format_name = "memory"
        self.levels = (Level(pixels.shape[1], pixels.shape[0], 1.0),)
        self.resolution = None
        self.kind = "brightfield"
        self.channels = ("R", "G", "B")
        self.pixels = pixels
        self.damaged = damaged
        self.reads = 0
        self.closed = False

    def clone(self) -> Slide:
        return MemorySlide(self.pixels)

    def close(self) -> None:
        self.closed = True

    def _reopen(self) -> None:
        pass

    def _read(self, level: int, x_px: int, y_px: int, width_px: int, height_px: int) -> Any:
        if self.damaged and y_px <= self.damaged[0] < y_px + height_px and x_px <= self.damaged[1] < x_px + width_px:
            raise OSError("damaged")
        self.reads += 1
        return self.pixels[y_px : y_px + height_px, x_px : x_px + width_px]


@pytest.fixture
def pixels() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 255, (1300, 1111, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "index",
    [
        np.s_[...],
        np.s_[:],
        np.s_[500:520, 505:530],
        np.s_[0:1300, 1024:1111, :],
        np.s_[-40:-3, ::7],
        np.s_[511:513, 511:1025, 1],
        np.s_[7],
        np.s_[7, -1],
        np.s_[..., 2],
        np.s_[1299, 1110, 0],
        np.s_[30:30],
    ],
)
def test_index_gives_what_numpy_gives(pixels: npt.NDArray[np.uint8], index: Any) -> None:
    level = LevelArray(Pyramid(MemorySlide(pixels), pytest.fail), 0, None)
    np.testing.assert_array_equal(level[index], pixels[index])
    np.testing.assert_array_equal(LevelArray(level._pyramid, 0, 1)[:50], pixels[:50, :, 1])


@pytest.mark.parametrize("index", [np.s_[::-1], np.s_[0, 0, 0, 0], np.s_[1300], np.s_[0, -1112]])
def test_index_that_cannot_be_read_is_refused(pixels: npt.NDArray[np.uint8], index: Any) -> None:
    level = LevelArray(Pyramid(MemorySlide(pixels), pytest.fail), 0, None)
    with pytest.raises(IndexError):
        level[index]


def test_flat_slide_gets_small_levels() -> None:
    rows, columns = np.indices((2200, 5001)) // 8  # blocks of 8 px: means of up to 8 x 8 px are exact
    pixels = np.stack([rows % 251, columns % 251, (rows + columns) % 251], axis=-1).astype(np.uint8)
    slide = MemorySlide(pixels)
    pyramid = Pyramid(slide, pytest.fail)
    assert pyramid.shapes == [(2200, 5001), (1100, 2500), (550, 1250)]
    slide.reads = 0
    np.testing.assert_array_equal(np.asarray(LevelArray(pyramid, 2, None)), pixels[::4, :5000:4])
    assert slide.reads == 5 * 10, "each chunk of the file is decoded once"


def test_unreadable_chunk_is_grey_and_said_once(pixels: npt.NDArray[np.uint8]) -> None:
    said: list[str] = []
    level = LevelArray(Pyramid(MemorySlide(pixels, damaged=(600, 600)), said.append), 0, None)
    shown = level[...]
    assert (shown[512:1024, 512:1024] == 128).all()
    np.testing.assert_array_equal(shown[:512], pixels[:512])
    level[600:610, 600:610]
    assert len(said) == 1
    assert "cannot be decoded" in said[0]


def test_cache_is_bounded_and_used(pixels: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pyramid, "CACHE_BYTES", 2 * 512 * 512 * 3)
    slide = MemorySlide(pixels)
    pyramid = Pyramid(slide, pytest.fail)
    level = LevelArray(pyramid, 0, None)
    slide.reads = 0
    level[0:10, 0:600]
    level[20:30, 0:600]
    assert slide.reads == 2
    level[...]
    assert pyramid._bytes <= 2 * 512 * 512 * 3


def test_slide_is_closed_with_its_pyramid(pixels: npt.NDArray[np.uint8]) -> None:
    slide = MemorySlide(pixels)
    level = LevelArray(Pyramid(slide, pytest.fail), 0, None)
    assert not slide.closed
    del level
    gc.collect()
    assert slide.closed


def test_damage_is_an_error_of_the_slide(pixels: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(UnreadableRegion):
        MemorySlide(pixels, damaged=(0, 0)).read(0, 0, 0, 5, 5)
