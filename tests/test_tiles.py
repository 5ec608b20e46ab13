"""Cores partition the slide, whatever the size and the shift."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtcseg.tiles import plan_tiles


@settings(deadline=None)  # the machine may be busy
@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    tile=st.integers(1, 20).map(lambda n: 8 * n),
    shift=st.tuples(st.integers(-30, 30), st.integers(-30, 30)).map(lambda s: (8 * s[0], 8 * s[1])),
)
def test_cores_cover_every_pixel_once(width, height, tile, shift):
    owners = np.zeros((height, width), int)
    for t in plan_tiles(width, height, tile=tile, halo=16, align=8, shift=shift):
        assert t.x % 8 == 0
        assert t.y % 8 == 0
        assert t.width > 0
        assert t.height > 0
        owners[t.y : t.y + t.height, t.x : t.x + t.width] += 1
    assert (owners == 1).all()


@pytest.mark.parametrize("wrong", [{"tile": 100}, {"halo": 10}, {"shift": (4, 0)}])
def test_lengths_off_the_networks_grid_are_refused(wrong):
    with pytest.raises(ValueError, match="not a multiple of 8"):
        list(plan_tiles(100, 100, **{"tile": 64, "halo": 16, "align": 8, **wrong}))
