"""One contract for every adapter, on files written for it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from dtcseg.errors import UnreadableRegion
from dtcseg.slide import Slide, open_slide

from .makers import HEIGHT, MAKERS, MPP, WIDTH, Made


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


every_format = pytest.mark.parametrize("made", MAKERS, indirect=True)


def opened(made: Made) -> Slide:
    return open_slide(made.path, mpp_um=None if made.mpp_um else MPP)


def regions(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Tile-aligned, across tiles, one pixel, the right and the bottom edge, the whole."""
    return [
        (0, 0, min(64, width), min(64, height)),
        (37, 21, min(101, width - 37), min(77, height - 21)),
        (width - 1, height - 1, 1, 1),
        (width - 45, 10, 45, 40),
        (5, height - 33, 70, 33),
        (0, 0, width, height),
    ]


@every_format
def test_describes_itself(made: Made) -> None:
    with opened(made) as slide:
        assert slide.kind == made.kind
        assert slide.channels == made.channels
        assert slide.resolution is not None
        assert slide.resolution.mpp_um == pytest.approx(MPP, rel=1e-3)
        assert slide.resolution.source == (made.mpp_source if made.mpp_um else "flag")
        sizes = [(level.height_px, level.width_px) for level in slide.levels]
        assert sizes == [level.shape[:2] for level in made.levels]
        assert [level.downsample for level in slide.levels] == [2.0**n for n in range(len(sizes))]


@every_format
def test_reads_every_region_of_every_level(made: Made) -> None:
    with opened(made) as slide:
        for number, expected in enumerate(made.levels):
            height, width = expected.shape[:2]
            for x, y, w, h in regions(width, height):
                pixels = slide.read(number, x, y, w, h)
                assert pixels.shape == (h, w, len(made.channels))
                assert pixels.dtype == expected.dtype
                difference = np.abs(pixels.astype(int) - expected[y : y + h, x : x + w])
                assert difference.max() <= made.tolerance
                assert difference.mean() <= made.tolerance / 4


@every_format
def test_refuses_what_is_outside(made: Made) -> None:
    with opened(made) as slide:
        width, height = slide.levels[0].width_px, slide.levels[0].height_px
        for region in ((-1, 0, 5, 5), (0, -1, 5, 5), (width - 4, 0, 5, 5), (0, height - 4, 5, 5), (0, 0, 0, 5)):
            with pytest.raises(ValueError, match="is not inside level 0"):
                slide.read(0, *region)
        for level in (-1, len(slide.levels)):
            with pytest.raises(ValueError, match="has levels 0 to"):
                slide.read(level, 0, 0, 1, 1)


@every_format
def test_clones_and_pickles_by_path_and_settings(made: Made) -> None:
    with opened(made) as slide:
        expected = slide.read(0, 11, 13, 50, 40)
        pickled = pickle.dumps(slide)
        assert len(pickled) < 2000
        with slide.clone() as clone, pickle.loads(pickled) as copy:
            slide.close()
            for other in (clone, copy):
                assert other.levels == slide.levels
                assert other.resolution == slide.resolution
                assert np.array_equal(other.read(0, 11, 13, 50, 40), expected)


@every_format
def test_closes_twice_and_reads_again_after_a_failure(made: Made) -> None:
    with opened(made) as slide:
        expected = slide.read(0, 3, 5, 20, 30)
        slide.close()
        slide.close()
        # A closed handle is one that fails: the contract opens a fresh one.
        assert np.array_equal(slide.read(0, 3, 5, 20, 30), expected)


@every_format
def test_a_region_that_fails_twice_is_an_error_of_that_region_alone(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(made) as slide:
        expected = slide.read(0, 3, 5, 20, 30)
        with monkeypatch.context() as patched:
            patched.setattr(slide, "_read", _failing)
            with pytest.raises(UnreadableRegion, match=r"region \(3, 5, 20, 30\) px cannot be decoded \(bad tile\)"):
                slide.read(0, 3, 5, 20, 30)
        assert np.array_equal(slide.read(0, 3, 5, 20, 30), expected)


def _failing(*_region: int) -> None:
    raise ValueError("bad tile")


def test_sizes_are_those_written(tmp_path: Path) -> None:
    with opened(MAKERS["tiled"](tmp_path)) as slide:
        assert (slide.levels[0].width_px, slide.levels[0].height_px) == (WIDTH, HEIGHT)
