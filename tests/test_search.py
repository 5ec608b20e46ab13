"""Nuclei counted in integers, candidates in float32: what may differ, and what may not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from dtcseg_training.fields import make_lesson

from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.network import integers
from dtcseg.network.engine import Engine
from dtcseg.network.integers import IntegerScreen, integer_screen
from dtcseg.network.model import SCREEN_MAPS, SCREEN_REACH_PX, SCREEN_STRIDE_PX
from dtcseg.network.weights import load, resolve
from dtcseg.score import score_open
from dtcseg.search import find_centres, on_canvas
from dtcseg.slide import open_slide
from dtcseg.tiles import plan_tiles

SAMPLES = Path(__file__).parents[1] / "data_samples"
FIELD_SEEDS = (5, 8, 11)
MOST_COUNT_DIFFERENCE = 0.01
"""Share of the nuclei of a slide of 2,500."""


@pytest.fixture(scope="module")
def engines():
    fast, plain = Engine(resolve(""), "cpu"), Engine(resolve(""), "cpu")
    if not fast.glances:
        pytest.skip("this processor or this PyTorch has no convolutions of integers")
    plain._integers = None
    return fast, plain


def fields():
    """Return planes (3, H, W) of a few laboratories."""
    return [make_lesson(771, seed).planes.astype(np.float32) for seed in FIELD_SEEDS]


def cut(engine, planes, tile_px, shift=(0, 0)):
    """Search a field tile by tile, as a slide is."""
    height, width = planes.shape[1:]
    halo, found = SCREEN_REACH_PX, []
    around = np.zeros((3, height + 2 * halo + 64, width + 2 * halo + 64), np.float32)
    around[:, halo : halo + height, halo : halo + width] = planes
    for tile in plan_tiles(width, height, tile=tile_px, halo=halo, align=SCREEN_STRIDE_PX, shift=shift):
        down, across = (on_canvas(side + 2 * halo) for side in (tile.height, tile.width))
        view = np.zeros((1, 3, down, across), np.float32)
        part = around[:, tile.y : tile.y + down, tile.x : tile.x + across]
        view[0, :, : part.shape[1], : part.shape[2]] = part
        found += find_centres(engine, [tile], view, engine.candidate_threshold(()))
    both = [np.concatenate([getattr(one, name) for one in found]) for name in ("nuclei", "candidates")]
    return [points[np.lexsort((points[:, 0], points[:, 1]))] for points in both]


def test_integers_see_what_float32_sees():
    screen, _ = load(resolve(""))
    quick = IntegerScreen(screen)
    for planes in fields():
        one = torch.from_numpy(np.ascontiguousarray(planes[None, :, :192, :192]))
        with torch.inference_mode():
            nuclei, greatest = quick(one)
            maps = screen(one)
        coarse = torch.nn.functional.max_pool2d(maps, SCREEN_STRIDE_PX)
        for got, want in ((nuclei, maps[:, SCREEN_MAPS.index("nucleus")]), (greatest, coarse)):
            assert got.shape == want.shape
            near = want > -3  # far below, no centre is near
            apart = (got - want)[near]
            assert float(apart.abs().mean()) < 0.1
            assert abs(float(apart.mean())) < 0.05


def test_candidates_are_those_of_float32_bit_for_bit(engines):
    fast, plain = engines
    number = 0
    for planes in fields():
        (nuclei, candidates), (counted, want) = (cut(engine, planes, 512) for engine in (fast, plain))
        np.testing.assert_array_equal(candidates, want)
        assert abs(len(nuclei) - len(counted)) <= max(3, 0.03 * len(counted))
        number += len(want)
    assert number > 20


@pytest.mark.parametrize(("tile_px", "shift"), [(64, (0, 0)), (96, (40, 16)), (128, (8, 120))])
def test_what_is_found_does_not_depend_on_the_cut(engines, tile_px, shift):
    for planes in fields():
        for got, want in zip(cut(engines[0], planes, tile_px, shift), cut(engines[0], planes, 512), strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_slide_keeps_its_calls_and_its_count(engines):
    """The whole road, on a slide with tumour cells."""
    scores = []
    with open_slide(SAMPLES / "P04_baseline_dab.ome.tif") as slide:
        for engine in engines:
            scores.append(score_open(slide, SlideJob(name="s", files=(slide.path,)), engine, ScoreConfig(out=SAMPLES)))
    fast, plain = scores
    assert [(c.x_px, c.y_px, c.call, c.score) for c in fast.candidates] == [
        (c.x_px, c.y_px, c.call, c.score) for c in plain.candidates
    ]
    assert abs(fast.mnc - plain.mnc) <= MOST_COUNT_DIFFERENCE * plain.mnc
    assert fast.details["precision"] == "float32 for candidates, int8 for nuclei"
    assert plain.details["precision"] == "float32"


def test_elsewhere_than_on_x86_float32_counts(monkeypatch):
    monkeypatch.setattr(integers.platform, "machine", lambda: "arm64")
    engine = Engine(resolve(""), "cpu")
    assert not engine.glances
    with pytest.raises(RuntimeError, match="integers"):
        engine.glance(np.zeros((1, 3, 64, 64), np.float32))


def test_integers_that_are_wrong_are_not_used(monkeypatch, caplog):
    screen, _ = load(resolve(""))

    class Wrong(IntegerScreen):
        def forward(self, planes):
            nuclei, greatest = super().forward(planes)
            return nuclei + 0.5, greatest

    monkeypatch.setattr(integers, "IntegerScreen", Wrong)
    assert integer_screen(screen) is None
    assert "differ" in caplog.text or not hasattr(torch.ops.onednn, "qconv2d_pointwise")


def test_an_older_pytorch_counts_in_float32(monkeypatch):
    screen, _ = load(resolve(""))

    def missing(screen):
        raise AttributeError("no such operator")

    monkeypatch.setattr(integers, "IntegerScreen", missing)
    assert integer_screen(screen) is None
