"""The cut-off that a slide's own nucleated cells set, and what it makes of scores."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from dtcseg_training.simulate import read_truth
from scipy import ndimage

from dtcseg.company import scores_in_company
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.cutoff import cytokeratin_cutoff, positivity
from dtcseg.score import score_slide

SAMPLES = Path(__file__).parents[1] / "data_samples"


def leukocytes(count, spread=0.45, seed=0):
    """Cytokeratin of ordinary cells of a fluorescence slide."""
    return 0.05 * np.exp(np.random.default_rng(seed).normal(0, spread, count))


def test_it_lies_above_what_one_cell_in_fifty_exceeds():
    ck = leukocytes(4000)
    assert cytokeratin_cutoff(ck, "fluorescence") == pytest.approx(1.25 * np.percentile(ck, 98), abs=1e-4)


def test_the_cells_of_some_slides_glow_more_than_those_of_others():
    dim, bright = (cytokeratin_cutoff(leukocytes(2000, spread), "fluorescence") for spread in (0.25, 0.55))
    assert dim < 0.12
    assert bright > 0.15


def test_a_few_tumour_cells_do_not_move_it():
    ck = leukocytes(2000)
    marrow = np.append(ck, np.full(20, 1.2))
    assert cytokeratin_cutoff(marrow, "fluorescence") < 1.2 * cytokeratin_cutoff(ck, "fluorescence")


@pytest.mark.parametrize(("kind", "most"), [("brightfield", 0.15), ("fluorescence", 0.2)])
def test_where_half_of_the_cells_are_tumour_cells_they_stay_above_it(kind, most):
    ck = np.append(leukocytes(500), np.random.default_rng(1).uniform(0.3, 1.5, 500))
    assert cytokeratin_cutoff(ck, kind) == most
    assert positivity(np.array([0.3]), most)[0] > 0.99


def test_too_few_cells_set_none():
    assert cytokeratin_cutoff(leukocytes(99), "fluorescence") == 0
    assert positivity(np.array([0.0, 0.01, 1.0]), 0.0).tolist() == [1, 1, 1]


def test_brightfield_cells_without_stain_set_none():
    assert cytokeratin_cutoff(np.full(1000, -0.02), "brightfield") == 0


def test_positivity_rises_steeply_through_one_half():
    found = positivity(np.array([0.0, 0.07, 0.1, 0.13, 0.5]), 0.1)
    assert (np.diff(found) > 0).all()
    assert found[2] == 0.5
    assert found[1] < 0.01
    assert found[3] > 0.98


def test_of_leukocytes_that_fool_the_look_by_the_hundred_hardly_one_is_called():
    rng = np.random.default_rng(3)
    ck = np.append(rng.normal(0.12, 0.015, 200), [0.6, 0.9])  # two tumour cells among them
    scores = np.append(rng.uniform(0.8, 0.99, 200), [0.99, 0.99])
    size = np.full(202, 15.0)
    without = scores_in_company(scores, np.ones(202), ck, size, 0.5)
    found = scores_in_company(scores, positivity(ck, 0.15), ck, size, 0.5)
    assert (without[:200] >= 0.5).mean() > 0.9
    assert (found[:200] >= 0.5).sum() <= 2
    assert (found[200:] > 0.98).all()


def sample_cutoff(name, tmp_path):
    job = SlideJob(name=name, files=(SAMPLES / f"{name}.ome.tif",))
    profile = score_slide(job, ScoreConfig(out=tmp_path, device="cpu")).details["profile"]
    return profile["ck_cutoff"]


def test_slides_get_one_of_their_own(tmp_path):
    fluorescence, fast_red = (sample_cutoff(name, tmp_path) for name in ("P05_baseline_if", "P02_baseline_fast_red"))
    assert 0.06 < fluorescence < 0.2  # above the brighter half of its leukocytes
    assert 0 < fast_red < 0.15


def test_leukocytes_that_glow_raise_it(tmp_path):
    with tifffile.TiffFile(SAMPLES / "P05_baseline_if.ome.tif") as file:
        planes = file.asarray()
    nuclei = read_truth(SAMPLES / "P05_baseline_if.ome.tif").nuclei_px
    glow = np.zeros(planes.shape[1:], np.float32)
    rng = np.random.default_rng(0)
    glow[tuple(np.round(nuclei[rng.random(len(nuclei)) < 0.05, ::-1]).astype(int).T)] = 1  # one in twenty
    glow = ndimage.gaussian_filter(glow, 6)
    dim = np.percentile(planes[1], 75) - np.percentile(planes[1], 10)
    glowing = planes.copy()
    glowing[1] = np.clip(planes[1] + glow / glow.max() * 6 * dim, 0, 255)
    cutoffs = []
    for name, image in (("plain", planes), ("glowing", glowing)):
        path = tmp_path / f"{name}.ome.tif"
        tifffile.imwrite(
            path,
            image,
            ome=True,
            tile=(512, 512),
            compression="zlib",
            metadata={
                "axes": "CYX",
                "PhysicalSizeX": 0.5,
                "PhysicalSizeY": 0.5,
                "Channel": {"Name": ["DAPI", "CK", "CD45"]},
            },
        )
        score = score_slide(SlideJob(name=name, files=(path,)), ScoreConfig(out=tmp_path, device="cpu"))
        cutoffs.append(score.details["profile"]["ck_cutoff"])
    assert cutoffs[1] > 1.2 * cutoffs[0]
