"""Unmixing takes mixtures apart, and stain vectors are found where there is anything to find them by."""

import numpy as np
import pytest

from dtcseg.stain.brightfield import (
    ASSUMED,
    CHROMOGENS,
    HEMATOXYLIN,
    BrightfieldProfile,
    chromogen_places,
    estimate_brightfield,
    foreign_share,
    optical_density,
    unmixing_matrix,
)

WHITE = (240.0, 238.0, 245.0)
RNG = np.random.default_rng(3)


def rgb(amounts, vectors, white=WHITE):
    """(N, 2) amounts of two stains -> (N, 3) uint8."""
    od = np.asarray(amounts) @ np.asarray(vectors)
    return np.clip(np.round(np.asarray(white) * 10**-od), 0, 255).astype(np.uint8)


def angle(a, b):
    return np.degrees(np.arccos(np.clip(np.dot(a, b), -1, 1)))


@pytest.mark.parametrize("stain", list(CHROMOGENS))
def test_planes_give_back_the_amounts(stain):
    amounts = RNG.uniform(0, 0.8, (400, 2))
    profile = BrightfieldProfile(stain, "flag", WHITE, HEMATOXYLIN, CHROMOGENS[stain], 1.0, False)
    planes = profile.planes(rgb(amounts, [HEMATOXYLIN, CHROMOGENS[stain]])[None])
    np.testing.assert_allclose(planes[0, 0], amounts[:, 0], atol=0.05)
    np.testing.assert_allclose(planes[1, 0], amounts[:, 1], atol=0.05)
    np.testing.assert_allclose(planes[2, 0], 0, atol=0.03)


def test_nothing_of_the_image_is_lost():
    matrix = unmixing_matrix(HEMATOXYLIN, CHROMOGENS["dab"])
    pixels = RNG.integers(5, 250, (500, 3)).astype(np.uint8)
    density = optical_density(pixels, WHITE)
    np.testing.assert_allclose(density @ matrix @ np.linalg.inv(matrix), density, atol=1e-4)


def test_glass_and_brighter_than_glass_is_nothing():
    profile = BrightfieldProfile("dab", "flag", WHITE, HEMATOXYLIN, CHROMOGENS["dab"], 1.0, False)
    planes = profile.planes(np.array([[[240, 238, 245], [255, 255, 255]]], np.uint8))
    assert np.abs(planes[:, 0, 0]).max() < 1e-3
    assert planes[:, 0, 1].max() < 0.05


def turned(vector, degrees, seed):
    noise = np.random.default_rng(seed).normal(size=3)
    noise -= noise @ np.asarray(vector) * np.asarray(vector)
    noise /= np.linalg.norm(noise)
    moved = np.cos(np.radians(degrees)) * np.asarray(vector) + np.sin(np.radians(degrees)) * noise
    moved = np.clip(moved, 0.01, None)
    return tuple(moved / np.linalg.norm(moved))


@pytest.mark.parametrize("stain", list(CHROMOGENS))
@pytest.mark.parametrize("seed", range(4))
def test_vectors_of_a_slide_are_found(stain, seed):
    hematoxylin, chromogen = turned(HEMATOXYLIN, 4, seed), turned(CHROMOGENS[stain], 2, seed + 9)
    rng = np.random.default_rng(seed)
    nuclei = np.stack([np.abs(rng.normal(0.6, 0.25, 5000)), np.zeros(5000)], 1) * (rng.random((5000, 1)) < 0.2)
    sample = rgb(nuclei + np.abs(rng.normal(0, 0.01, nuclei.shape)), [hematoxylin, chromogen])
    patches = []
    for _ in range(6):
        mixed = np.stack([rng.uniform(0, 0.5, 400) * (rng.random(400) < 0.4), rng.uniform(0.2, 1.0, 400)], 1)
        patches.append(rgb(mixed * (rng.random((400, 1)) < 0.5), [hematoxylin, chromogen]))
    profile = estimate_brightfield(sample, patches, WHITE, None, "")
    assert angle(profile.hematoxylin, hematoxylin) < 3
    assert angle(profile.chromogen, chromogen) < 5
    assert profile.estimated
    assert profile.stain_source == "image"
    red = {"new_fuchsin", "fast_red"}
    assert profile.stain == stain or {profile.stain, stain} == red or {profile.stain, stain} == {"aec", "dab"}


@pytest.mark.parametrize("stain", ["new_fuchsin", "dab"])
def test_a_few_dark_places_outvote_many_red_cells(stain):
    """Red cells look like pale DAB, and on a small slide most places are red cells."""
    rng = np.random.default_rng(6)
    sample = rgb(rng.uniform(0.1, 0.9, (4000, 1)), [HEMATOXYLIN])
    dark = [rgb(rng.uniform(0.5, 0.8, (200, 1)), [CHROMOGENS[stain]]) for _ in range(4)]
    red_cells = [rgb(rng.uniform(0.2, 0.3, (200, 1)), [CHROMOGENS["dab"]]) for _ in range(16)]
    assert estimate_brightfield(sample, dark + red_cells, WHITE, None, "").stain == stain
    assert estimate_brightfield(sample, dark[:2] + red_cells, WHITE, None, "").stain == "dab"  # two say nothing


def test_next_to_no_chromogen_keeps_the_start_vector():
    sample = rgb(np.stack([RNG.uniform(0, 1, 4000), np.zeros(4000)], 1), [HEMATOXYLIN, CHROMOGENS["dab"]])
    profile = estimate_brightfield(sample, [], WHITE, None, "")
    assert profile.stain == ASSUMED
    assert profile.stain_source == "assumed"
    assert profile.chromogen == CHROMOGENS[ASSUMED]
    assert not profile.estimated
    told = estimate_brightfield(sample, [], WHITE, "dab", "slides.csv")
    assert (told.stain, told.stain_source) == ("dab", "slides.csv")
    assert told.chromogen == CHROMOGENS["dab"]


@pytest.mark.parametrize("stain", list(CHROMOGENS))
def test_ordinary_cells_set_the_zero_of_cytokeratin(stain):
    """Chromogen that sticks to every cell, and a nuclear stain off the textbook's, are no cytokeratin."""
    rng = np.random.default_rng(6)
    vectors = [turned(HEMATOXYLIN, 4, 5), CHROMOGENS[stain]]
    nuclear = np.abs(rng.normal(0.5, 0.25, 6000))
    sticking = rng.normal(0.1, 0.02, 6000)
    sample = rgb(np.stack([nuclear, sticking], 1), vectors)
    profile = estimate_brightfield(sample, [], WHITE, stain, "flag")
    assert 0.04 < profile.ck_background < 0.12
    for amount in (0.1, 0.5, 1.0):  # pale nuclei and dark ones alike
        ordinary, positive = profile.planes(rgb([[amount, 0.1], [amount, 0.4]], vectors)[None])[1, 0]
        assert abs(ordinary) < 0.06
        assert positive - ordinary == pytest.approx(0.3, abs=0.05)
    few = np.concatenate([sample, rgb([[0.4, 0.9]] * 300, vectors)])
    assert estimate_brightfield(few, [], WHITE, stain, "flag").ck_background == pytest.approx(
        profile.ck_background, abs=0.01
    )


def test_the_spread_of_ordinary_cytokeratin_is_told():
    """More where chromogen sticks to some cells more than to others; the same with a few positive cells among them."""
    rng = np.random.default_rng(7)
    vectors = [HEMATOXYLIN, CHROMOGENS["dab"]]
    nuclear = np.abs(rng.normal(0.5, 0.2, 6000))
    spreads = []
    for sticking in (rng.normal(0.08, 0.01, 6000), np.abs(rng.normal(0.0, 0.12, 6000))):
        sample = rgb(np.stack([nuclear, sticking], 1), vectors)
        spreads.append(estimate_brightfield(sample, [], WHITE, "dab", "flag").ck_spread)
        few = np.concatenate([sample, rgb([[0.4, 0.9]] * 60, vectors)])
        assert estimate_brightfield(few, [], WHITE, "dab", "flag").ck_spread == pytest.approx(spreads[-1], abs=0.01)
    assert spreads[0] < 0.03
    assert 0.08 < spreads[1] < 0.16


def test_a_slide_full_of_positive_cells_keeps_them():
    sample = rgb(RNG.uniform(0.2, 0.8, (6000, 2)), [HEMATOXYLIN, CHROMOGENS["dab"]])
    profile = estimate_brightfield(sample, [], WHITE, "dab", "flag")
    assert profile.ck_background <= 0.2
    assert profile.planes(rgb([[0.4, 0.6]], [HEMATOXYLIN, CHROMOGENS["dab"]])[None])[1, 0, 0] > 0.3


def test_nuclei_in_pink_cytoplasm_are_as_strong_as_others():
    """The plane's strength is set by what is left of nuclei when the pink is taken off them."""
    rng = np.random.default_rng(8)
    nuclear = np.abs(rng.normal(0.5, 0.1, 6000)) * (rng.random(6000) < 0.3)
    for pink in (0.0, 0.3):
        sample = rgb(np.stack([nuclear, np.full(6000, pink)], 1), [HEMATOXYLIN, CHROMOGENS["fast_red"]])
        profile = estimate_brightfield(sample, [], WHITE, "fast_red", "flag")
        nucleus = rgb([[0.5, pink]], [HEMATOXYLIN, CHROMOGENS["fast_red"]])
        assert profile.planes(nucleus[None])[0, 0, 0] == pytest.approx(0.6, abs=0.12)


@pytest.mark.parametrize("stain", list(CHROMOGENS))
def test_chromogen_over_nuclei_is_told_from_the_mixture(stain):
    """Where every place is stain over a nucleus, the vector does not come to lie nearer to hematoxylin for it."""
    rng = np.random.default_rng(9)
    sample = rgb(
        np.stack([rng.uniform(0, 1, 4000) * (rng.random(4000) < 0.3), np.zeros(4000)], 1),
        [HEMATOXYLIN, CHROMOGENS[stain]],
    )
    patches = [rgb(rng.uniform((0.2, 0.5), (0.3, 0.9), (300, 2)), [HEMATOXYLIN, CHROMOGENS[stain]]) for _ in range(6)]
    profile = estimate_brightfield(sample, patches, WHITE, stain, "flag")
    assert profile.estimated
    assert angle(profile.chromogen, CHROMOGENS[stain]) < 4
    assert angle(profile.chromogen, profile.hematoxylin) > angle(CHROMOGENS[stain], HEMATOXYLIN) - 3


def test_places_of_a_known_stain_are_not_those_of_another():
    overview = np.full((80, 100, 3), 240, np.uint8)
    overview[20:24, 30:34] = rgb([[0.2, 0.6]], [HEMATOXYLIN, CHROMOGENS["new_fuchsin"]])[0]
    overview[60:63, 70:73] = rgb([[0.2, 0.5]], [HEMATOXYLIN, CHROMOGENS["dab"]])[0]
    everywhere = np.ones((80, 100), bool)
    for stain, (x, y) in {"new_fuchsin": (30, 20), "dab": (70, 60)}.items():
        found = chromogen_places(overview, everywhere, WHITE, count=1, apart_px=10, stain=stain)[0]
        assert x <= found[0] < x + 4
        assert y <= found[1] < y + 4


def test_green_ink_is_no_chromogen():
    green = rgb(np.full((400, 2), (0.9, 0.0)), [(0.80, 0.15, 0.58), (0, 0, 1)])
    profile = estimate_brightfield(green[:0], [green] * 8, WHITE, None, "")
    assert not profile.estimated


def test_empty_slide_is_estimated_without_fuss():
    blank = np.full((1000, 3), 240, np.uint8)
    profile = estimate_brightfield(blank, [blank], WHITE, None, "")
    assert profile.hematoxylin == HEMATOXYLIN
    assert np.abs(profile.planes(blank[None])).max() < 0.1


def test_places_are_the_chromogen_and_keep_apart():
    overview = np.full((80, 100, 3), 240, np.uint8)
    overview[20:24, 30:34] = rgb([[0.2, 0.9]], [HEMATOXYLIN, CHROMOGENS["fast_red"]])[0]
    overview[60:63, 70:73] = rgb([[0.2, 0.5]], [HEMATOXYLIN, CHROMOGENS["fast_red"]])[0]
    overview[40:50, 40:50] = rgb([[0.9, 0.0]], [HEMATOXYLIN, CHROMOGENS["fast_red"]])[0]
    everywhere = np.ones((80, 100), bool)
    places = chromogen_places(overview, everywhere, WHITE, count=10, apart_px=10)
    assert [(30 <= x < 34 and 20 <= y < 24) or (70 <= x < 73 and 60 <= y < 63) for x, y in places] == [True, True]
    everywhere[:, :50] = False
    assert len(chromogen_places(overview, everywhere, WHITE, count=10, apart_px=10)) == 1


@pytest.mark.parametrize("stain", list(CHROMOGENS))
def test_mixtures_are_not_foreign(stain):
    mixed = rgb(RNG.uniform(0, 1, (3000, 2)), [turned(HEMATOXYLIN, 5, 1), turned(CHROMOGENS[stain], 4, 2)])
    assert foreign_share(mixed, WHITE) < 0.02


def test_green_is_foreign_and_glass_is_not():
    green = rgb(np.stack([RNG.uniform(0.3, 1, 3000), np.zeros(3000)], 1), [(0.80, 0.15, 0.58), (0, 0, 1)])
    assert foreign_share(green, WHITE) > 0.95
    assert foreign_share(np.full((3000, 3), 238, np.uint8), WHITE) == 0
