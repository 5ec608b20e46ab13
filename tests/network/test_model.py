"""Both networks: shapes, reach, and arithmetic that does not depend on how the work was cut."""

import numpy as np
import pytest
import torch

from dtcseg.network.model import LOOK_PX, SCREEN_CANVAS_PX, SCREEN_REACH_PX, SCREEN_STRIDE_PX, Look, Screen
from dtcseg.network.peaks import (
    CANDIDATE_APART_PX,
    NUCLEUS_APART_PX,
    candidate_logits,
    core_peaks,
    nucleus_logits,
)
from dtcseg.tiles import Tile, plan_tiles


@pytest.fixture(scope="module")
def screen():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    return Screen().eval()


def planes(height, width, seed=0):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_maps_have_the_size_of_the_planes(screen):
    with torch.inference_mode():
        assert screen(planes(64, 120)).shape == (1, 3, 64, 120)


def test_a_size_off_the_stride_is_refused(screen):
    with pytest.raises(ValueError, match="multiples of 8"):
        screen(planes(64, 100))


def test_reach_is_no_more_than_stated(screen):
    """Changing everything farther away than the reach changes nothing; changing what is near does."""
    x = planes(256, 256)
    with torch.inference_mode():
        before = screen(x)
        for axis in (2, 3):
            for flip in (False, True):
                far, near = x.clone(), x.clone()
                far.movedim(axis, 0)[: 128 - SCREEN_REACH_PX] += 5
                near.movedim(axis, 0)[:120] += 5
                if flip:
                    far, near = far.flip(axis), near.flip(axis)
                    reference = screen(x.flip(axis))
                    kept = reference.movedim(axis, 0)[:128], screen(far).movedim(axis, 0)[:128]
                    moved = reference.movedim(axis, 0)[:128], screen(near).movedim(axis, 0)[:128]
                else:
                    kept = before.movedim(axis, 0)[128:], screen(far).movedim(axis, 0)[128:]
                    moved = before.movedim(axis, 0)[128:], screen(near).movedim(axis, 0)[128:]
                assert torch.equal(*kept)
                assert not torch.equal(*moved)


@pytest.mark.parametrize("tile", [64, 128, 512])
@pytest.mark.parametrize("shift", [(0, 0), (40, 16)])
def test_tiles_find_what_the_whole_image_holds(screen, tile, shift):
    """Peaks are the same, bit for bit, whatever the tiles; none is lost or doubled at a seam or corner."""
    size = 384
    x = planes(size, size, seed=4)

    def padded(t):
        full = torch.zeros(
            1, 3, *(-(-(s + 2 * t.halo) // SCREEN_CANVAS_PX) * SCREEN_CANVAS_PX for s in (t.height, t.width))
        )
        top, left = t.y - t.halo, t.x - t.halo
        y0, x0 = max(top, 0), max(left, 0)
        part = x[:, :, y0 : top + full.shape[2], x0 : left + full.shape[3]]
        full[:, :, y0 - top : y0 - top + part.shape[2], x0 - left : x0 - left + part.shape[3]] = part
        return full

    def found(tiles):
        parts = []
        for t in tiles:
            with torch.inference_mode():
                maps = screen(padded(t))[0]
                parts.append(core_peaks(nucleus_logits(maps[0]), t, 0.5, NUCLEUS_APART_PX))
                parts.append(core_peaks(candidate_logits(maps), t, 0.5, CANDIDATE_APART_PX))
        points = np.concatenate(parts)
        return points[np.lexsort((points[:, 0], points[:, 1]))]

    whole = found([Tile(0, 0, size, size, SCREEN_REACH_PX)])
    cut = found(plan_tiles(size, size, tile=tile, halo=SCREEN_REACH_PX, align=SCREEN_STRIDE_PX, shift=shift))
    assert len(whole) > 200
    np.testing.assert_array_equal(cut, whole)


def test_peaks_lie_in_the_core_and_keep_apart():
    logits = torch.full((40, 40), -5.0)
    for row, column in [(8, 8), (8, 9), (20, 31), (3, 20), (36, 20)]:
        logits[row, column] = 2.0 + 0.01 * row + 0.1 * column
    points = core_peaks(logits, Tile(100, 200, 24, 24, 8), 0.5, 2)
    assert points[:, :2].tolist() == [[101.0, 200.0], [123.0, 212.0]]
    assert core_peaks(logits, Tile(100, 200, 24, 24, 8), 0.999, 2).shape == (0, 3)


def test_a_broad_low_peak_weighs_more_than_a_high_narrow_one():
    maps = torch.full((3, 40, 40), -9.0)
    maps[0, 9:12, 9:12] = 0.0
    maps[0, 24:27, 24:27] = -3.5
    maps[0, 25, 25] = 2.0
    logits = nucleus_logits(maps[0])
    assert logits[10, 10] > logits[25, 25] > -4
    assert logits.argmax() == 10 * 40 + 10
    points = core_peaks(logits, Tile(0, 0, 24, 24, 8), 0.01, NUCLEUS_APART_PX)  # below the floor: no plain of peaks
    assert points[:, :2].tolist() == [[2.0, 2.0], [17.0, 17.0]]


def test_look_gives_masks_and_calls():
    torch.manual_seed(0)
    look = Look().eval()
    with torch.inference_mode():
        masks, calls = look(torch.randn(2, 3, LOOK_PX, LOOK_PX), torch.zeros(2))
    assert masks.shape == (2, 2, LOOK_PX, LOOK_PX)
    assert calls.shape == (2, 4)
    with pytest.raises(ValueError, match="128 x 128"):
        look(torch.randn(1, 3, 64, 64), torch.zeros(1))


def test_a_look_weighs_cytokeratin_against_the_slides_own_cells():
    """The same crop is another matter on a slide whose ordinary cells hold as much."""
    torch.manual_seed(0)
    look = Look().eval()
    crop = torch.full((1, 3, LOOK_PX, LOOK_PX), 0.2)
    with torch.inference_mode():
        clean, sticky = (look(crop, torch.tensor([spread]))[1] for spread in (0.01, 0.2))
    assert (clean - sticky).abs().max() > 1e-4


def test_both_networks_learn(screen):
    """Every weight gets a gradient."""
    crops = planes(LOOK_PX, LOOK_PX).expand(2, -1, -1, -1)
    for network, inputs in ((Screen(), (planes(64, 64),)), (Look(), (crops, torch.full((2,), 0.03)))):
        out = network(*inputs)
        total = out.square().mean() if isinstance(out, torch.Tensor) else sum(o.square().mean() for o in out)
        total.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
