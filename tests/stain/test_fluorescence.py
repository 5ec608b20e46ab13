"""Channels of any exposure come to one scale, and a negative slide stays dark."""

import numpy as np
import pytest

from dtcseg.stain.fluorescence import estimate_fluorescence

ROLES = {"nuclear": 0, "cytokeratin": 1, "leukocyte": 2}


def field(gain, offset, *, positive=0, dtype=np.uint16, seed=0):
    """Pixels (N, 3): a fifth nuclei, their own cytokeratin signal 30 over ground, `positive` of them 20 times that."""
    rng = np.random.default_rng(seed)
    nuclear = rng.random(20000) < 0.2
    values = np.zeros((20000, 3))
    values[nuclear] = [1000, 30, 400]
    values[np.flatnonzero(nuclear)[:positive], 1] = 600
    values += rng.normal(0, 4, values.shape)
    return np.clip(values * gain + offset, 0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 100), (8.0, 500), (0.5, 20)])
def test_exposure_does_not_matter(gain, offset):
    pixels = field(gain, offset, positive=40)
    profile = estimate_fluorescence(pixels, ROLES)
    planes = profile.planes(pixels[None])[:, 0]
    nuclei = field(gain, 0)[:, 0] > 500 * gain
    assert np.median(planes[0][nuclei]) == pytest.approx(0.6, abs=0.1)
    assert np.abs(np.median(planes[0][~nuclei])) < 0.05
    assert np.median(planes[1][nuclei]) < 0.1
    assert planes[1].max() > 0.6


def test_the_spread_of_the_leukocytes_own_signal_is_told():
    """On the plane, so that exposure does not matter; more where they differ more."""
    even = [estimate_fluorescence(field(gain, 100, positive=40), ROLES).ck_spread for gain in (1.0, 8.0)]
    assert even[0] == pytest.approx(even[1], abs=0.004)
    uneven = field(1.0, 100).astype(np.int64)
    bright = uneven[:, 0] > 600
    uneven[bright, 1] += np.random.default_rng(2).exponential(40, bright.sum()).astype(np.int64)
    assert estimate_fluorescence(uneven.astype(np.uint16), ROLES).ck_spread > 2 * even[0]


def test_a_negative_slide_is_not_blown_up():
    pixels = field(1.0, 100, positive=0)
    assert estimate_fluorescence(pixels, ROLES).planes(pixels[None])[1].max() < 0.15


def test_missing_leukocyte_channel_is_a_plane_of_nothing():
    pixels = field(1.0, 100)[:, :2]
    planes = estimate_fluorescence(pixels, {"nuclear": 0, "cytokeratin": 1}).planes(pixels[None])
    assert not planes[2].any()
    assert planes.shape == (3, 1, 20000)


def test_eight_bits_and_an_empty_field():
    pixels = field(0.2, 5, positive=40, dtype=np.uint8)
    planes = estimate_fluorescence(pixels, ROLES).planes(pixels[None])
    assert planes[1].max() > 0.5
    empty = np.full((1000, 3), 7, np.uint8)
    assert np.abs(estimate_fluorescence(empty, ROLES).planes(empty[None])).max() < 0.01


def test_single_grey_levels_are_no_stain():
    """A cytokeratin channel so dark in 8 bits that leukocytes fill two levels of it, and tumour cells a dozen."""
    rng = np.random.default_rng(4)
    nuclei = rng.random(50_000) < 0.2
    tumour = nuclei & (rng.random(nuclei.size) < 0.002)
    ck = 5 + np.where(nuclei, rng.choice([0, 1, 2], nuclei.size, p=[0.3, 0.6, 0.1]), 0) + 9 * tumour
    sample = np.stack([np.where(nuclei, 25, 5), ck], 1).astype(np.uint8)
    planes = estimate_fluorescence(sample, {"nuclear": 0, "cytokeratin": 1}).planes(sample[None])
    assert planes[1, 0][nuclei & ~tumour].max() < 0.08
    assert planes[1, 0][tumour].min() > 0.25


@pytest.mark.parametrize("share", [0.002, 0.01, 0.1])
def test_a_sparse_slide_has_the_zero_and_the_scale_of_a_dense_one(share):
    """Few nuclei on the hazy ground of 8 bits: what passes the noise there must not be taken for leukocytes."""
    rng = np.random.default_rng(3)
    nuclei = rng.random(200_000) < share
    haze = rng.random(nuclei.size) < 0.2
    nuclear = 6 + haze + np.where(nuclei, rng.normal(60, 12, nuclei.size), 0)
    ck = rng.normal(6, 0.4, nuclei.size) + np.where(nuclei, rng.normal(7, 1.5, nuclei.size), 0)
    sample = np.clip(np.round(np.stack([nuclear, ck], 1)), 0, 255).astype(np.uint8)
    planes = estimate_fluorescence(sample, {"nuclear": 0, "cytokeratin": 1}).planes(sample[None])
    assert 0.4 < np.median(planes[0, 0][nuclei]) < 0.8
    assert np.median(planes[1, 0][nuclei]) < 0.07
