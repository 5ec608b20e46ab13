"""The main road on whole slides: the same cells whatever the cut, nothing on glass, and bad parts said."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tifffile
import torch
from dtcseg_training.simulate import draw_slide_spec, write_slide
from scipy.spatial import cKDTree
from skimage.data import immunohistochemistry

import dtcseg.score
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.errors import UnsuitableSlide
from dtcseg.network.laboratory import Laboratory
from dtcseg.network.weights import load, resolve, save
from dtcseg.score import score_slide
from dtcseg.screen import Road
from dtcseg.stain.brightfield import CHROMOGENS


def job(path, **more):
    return SlideJob(name=path.name.split(".")[0], files=(path,), **more)


_RICH = (
    ("tumour_single", 12),
    ("degenerate_smear", 4),
    ("degenerate_ghost", 2),
    ("hc_even", 2),
    ("hc_vacuolar", 6),
    ("granulocyte_reactive", 4),
    ("precipitate", 4),
    ("pigment", 4),
    ("debris", 4),
    ("fibre", 2),
    ("dust", 12),
    ("flake", 10),
)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A slide of 1.7 mm with a round spot, red stain, tumour cells, mimics and dirt, but no ink; and its truth."""
    path = tmp_path_factory.mktemp("slides") / "red.ome.tif"
    spec = draw_slide_spec(np.random.default_rng(5), stain="fast_red", mpp_um=0.5, size_px=(3000, 3400))
    spec = replace(spec, density_per_mm2=1500.0, optics=replace(spec.optics, defocus_um=0.0), counts=_RICH)
    return path, write_slide(path, spec, seed=5)


@pytest.fixture(scope="module")
def reference(slide, tmp_path_factory):
    return score_slide(job(slide[0]), ScoreConfig(out=tmp_path_factory.mktemp("out")))


def assert_same(a, b):
    np.testing.assert_array_equal(a.nuclei_px, b.nuclei_px)
    assert a.candidates == b.candidates
    for one, other in zip(a.candidates, b.candidates, strict=True):
        np.testing.assert_array_equal(one.outline_px, other.outline_px)
    assert (a.area_mm2, a.qc, a.excluded_mm2, a.mnc) == (b.area_mm2, b.qc, b.excluded_mm2, b.mnc)


def test_many_tumour_cells_are_not_taken_for_background(tmp_path):
    """One tumour cell to thirty others leaves the zero of cytokeratin and its spread where ordinary cells put them.

    And it is said that so many are hardly ever true.
    """
    spec = draw_slide_spec(np.random.default_rng(5), stain="new_fuchsin", mpp_um=0.5, size_px=(1600, 1600))
    told = []
    for tumour_cells in (0, 24):
        path = tmp_path / f"{tumour_cells}.ome.tif"
        write_slide(path, replace(spec, density_per_mm2=1500.0, counts=(("tumour_single", tumour_cells),)), seed=5)
        told.append(score_slide(job(path), ScoreConfig(out=tmp_path)))
    called = sum(c.call == "tumour" for c in told[1].candidates)
    assert [[flag for flag in score.qc if "tumour" in flag] for score in told] == [
        [],
        [f"many_tumour_calls:{called}_in_{told[1].mnc}_cells"],
    ]
    plain, rich = (score.details["profile"] for score in told)
    assert rich["ck_spread"] < 1.5 * plain["ck_spread"]
    assert rich["ck_background"] < plain["ck_background"] + 0.02


def test_ink_in_the_colour_of_the_stain_is_not_taken_for_background(tmp_path):
    """A stroke of red ink over a seventh of a small spot leaves the zero of cytokeratin and its spread as they were."""
    spec = draw_slide_spec(np.random.default_rng(5), stain="new_fuchsin", mpp_um=0.5, size_px=(1600, 1600))
    path = tmp_path / "plain.ome.tif"
    write_slide(path, replace(spec, density_per_mm2=1500.0, counts=(("tumour_single", 4),)), seed=5)
    pixels = tifffile.imread(path).astype(np.float32)
    grain = np.random.default_rng(6).uniform(0.3, 0.7, (240, 1600, 1)).astype(np.float32)
    pixels[700:940] *= 10 ** -(grain * np.array(CHROMOGENS["new_fuchsin"], np.float32))
    marked = tmp_path / "marked.tif"
    tifffile.imwrite(marked, pixels.astype(np.uint8), tile=(256, 256), photometric="rgb")
    plain, inked = (
        score_slide(job(file, mpp_um=0.5), ScoreConfig(out=tmp_path)).details["profile"] for file in (path, marked)
    )
    assert inked["ck_background"] < plain["ck_background"] + 0.03
    assert inked["ck_spread"] < plain["ck_spread"] + 0.03


def test_a_section_whose_epithelium_is_stained_all_over_has_no_tumour_cell(tmp_path):
    """Stain wider than cells is no exception there; leaving it out made 22 of its cells tumour cells."""
    path = tmp_path / "colon.tif"
    tifffile.imwrite(path, immunohistochemistry(), tile=(256, 256), photometric="rgb")
    score = score_slide(job(path, mpp_um=0.5), ScoreConfig(out=tmp_path))
    assert len(score.candidates) > 10
    assert not any(c.call == "tumour" for c in score.candidates)


def test_counts_and_calls_agree_with_the_truth(slide, reference):
    truth = slide[1]
    assert reference.stain in ("fast_red", "new_fuchsin")
    assert reference.mnc == pytest.approx(len(truth.nuclei_px), rel=0.05)
    assert reference.mnc_low < len(truth.nuclei_px) < reference.mnc_high
    tumour = [c for c in truth.cells if c.call == "tumour"]

    def found(candidates):
        places = np.array([(c.x_px, c.y_px) for c in candidates])
        return sum(np.hypot(*(places - (c.x_px, c.y_px)).T).min() < c.diameter_um for c in tumour)

    assert len(tumour) >= 10
    assert found(reference.candidates) == len(tumour)
    called = [c for c in reference.candidates if c.call == "tumour"]
    assert found(called) >= 0.9 * len(tumour)  # the weights give 12 of 12
    assert len(called) <= 1.15 * len(tumour)


def test_a_laboratory_s_look_is_asked_on_slides_stained_like_theirs(slide, reference, tmp_path):
    told = reference.details["profile"]
    own = (*told["hematoxylin"], *told["chromogen"], told["ck_spread"])
    elsewhere = (*told["hematoxylin"], *CHROMOGENS["dab"], told["ck_spread"])
    look = load(resolve())[1]
    with torch.no_grad():
        look.calls[3].bias[0] -= 50.0  # nothing is a tumour cell
    scored = []
    for name, signature in (("own", own), ("elsewhere", elsewhere)):
        path = tmp_path / f"{name}.safetensors"
        card = replace(resolve().card, name=name, laboratories=[Laboratory((signature,), 1.0, 0.01).to_json()])
        save(path, *load(resolve()), card, [look])
        scored.append(score_slide(job(slide[0]), ScoreConfig(out=tmp_path, model=str(path))))
    assert not any(c.call == "tumour" for c in scored[0].candidates)
    assert len(scored[0].candidates) > len(reference.candidates)  # its screen makes candidates of more
    places = np.array([(c.x_px, c.y_px) for c in scored[0].candidates])
    near = [np.hypot(*(places - (c.x_px, c.y_px)).T).min() < 8 for c in reference.candidates]
    assert sum(near) > 0.9 * len(near)  # outlines of likely tumour cells are drawn from all sides, others are not
    assert_same(scored[1], reference)
    assert scored[0].mnc == reference.mnc


def test_candidates_are_sorted_and_outlined(reference):
    scores = [c.score for c in reference.candidates]
    assert scores == sorted(scores, reverse=True)
    for c in reference.candidates:
        ring = c.outline_px
        assert (ring[0] == ring[-1]).all()
        assert ring[:, 0].min() <= c.x_px <= ring[:, 0].max()
        assert 3.5 < c.diameter_um < 75
        assert 0 <= c.ck_over_nucleus <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("tile_px", "batch", "workers"), [(512, 1, 2), (512, 8, 1), (2048, 1, 1), (2048, 8, 2)])
def test_the_cut_does_not_matter(slide, reference, tile_px, batch, workers, tmp_path):
    config = ScoreConfig(out=tmp_path, tile_px=tile_px, batch=batch, workers=workers)
    assert_same(score_slide(job(slide[0]), config), reference)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [(344, 344), (-344, 176)])
def test_a_shifted_tile_grid_finds_the_same_cells(slide, reference, shift, tmp_path, monkeypatch):
    monkeypatch.setattr(dtcseg.score, "Road", partial(Road, shift_px=shift))
    assert_same(score_slide(job(slide[0]), ScoreConfig(out=tmp_path)), reference)


@pytest.mark.parametrize("level", [255, 243, 200])
def test_blank_slide_has_no_cells_and_says_so(tmp_path, level):
    path = tmp_path / "blank.tif"
    noise = np.random.default_rng(0).normal(0, 1.5, (3000, 3000, 3))
    pixels = np.clip(level + noise, 0, 255).astype(np.uint8)
    tifffile.imwrite(path, pixels, tile=(512, 512), photometric="rgb", compression="jpeg")
    score = score_slide(job(path, mpp_um=0.5, mpp_source="flag"), ScoreConfig(out=tmp_path))
    assert score.mnc == 0
    assert score.candidates == ()
    assert score.qc[0] in ("no_spot", "not_assessable")


@pytest.mark.parametrize("offset", [0, 300])
def test_blank_fluorescence_has_no_cells_and_says_so(tmp_path, offset):
    path = tmp_path / "blank.ome.tif"
    noise = np.random.default_rng(0).normal(offset, 4.0, (3, 2000, 2000))
    pixels = np.clip(noise, 0, None).astype(np.uint16)
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": {"Name": ["DAPI", "CK", "CD45"]}}
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)
    score = score_slide(job(path), ScoreConfig(out=tmp_path))
    assert score.mnc == 0
    assert score.candidates == ()
    assert score.qc[0] in ("no_spot", "not_assessable")


def blurred(pixels, sigma_px):
    from scipy import ndimage

    return ndimage.gaussian_filter(pixels, (sigma_px, sigma_px, 0))


def test_slide_out_of_focus_is_no_negative(tmp_path, slide):
    path = tmp_path / "blurred.tif"
    with tifffile.TiffFile(slide[0]) as tif:
        pixels = tif.series[0].levels[0].asarray()[1000:3000, 1300:3300]
    tifffile.imwrite(path, blurred(pixels, 12), tile=(512, 512), photometric="rgb")
    score = score_slide(job(path, mpp_um=0.5, mpp_source="flag"), ScoreConfig(out=tmp_path))
    assert "not_assessable" in score.qc
    assert score.area_mm2 < 0.2 * sum(score.excluded_mm2.values())


def test_damaged_tiles_are_not_screened(tmp_path, slide, reference):
    """Tiles whose JPEG data is overwritten: their area is excluded and named, cells elsewhere stay the same."""
    path = tmp_path / "damaged.ome.tif"
    data = bytearray(slide[0].read_bytes())
    with tifffile.TiffFile(slide[0]) as tif:
        for level in tif.series[0].levels:
            page = level.keyframe
            across = -(-page.imagewidth // page.tilewidth)
            scale = tif.series[0].levels[0].keyframe.imagewidth // page.imagewidth
            column, row = (int(2200 / scale) // page.tilewidth for _ in range(2))
            offset, count = page.dataoffsets[row * across + column], page.databytecounts[row * across + column]
            if scale <= 2:
                data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    score = score_slide(job(path), ScoreConfig(out=tmp_path))
    assert score.excluded_mm2["unreadable"] > 0.05
    assert any(flag.startswith("unreadable") for flag in score.qc)
    assert score.mnc < reference.mnc
    far = reference.nuclei_px[np.abs(reference.nuclei_px - 2200).max(axis=1) > 700]  # its tile ends before
    assert len(far) > 1000
    apart, _ = cKDTree(score.nuclei_px).query(far)  # the stains are measured without the damaged places
    assert (apart * score.mpp_um <= 1.0).mean() >= 0.995


def test_stain_that_cannot_be(slide, tmp_path):
    with pytest.raises(UnsuitableSlide, match="brightfield"):
        score_slide(job(slide[0], stain="if", stain_source="flag"), ScoreConfig(out=tmp_path))


@pytest.mark.parametrize("mpp", [0.05, 2.0])
def test_pixel_size_out_of_range(slide, tmp_path, mpp):
    with pytest.raises(UnsuitableSlide, match="--mpp"):
        score_slide(job(slide[0], mpp_um=mpp, mpp_source="flag"), ScoreConfig(out=tmp_path))


def test_dark_rgb_image_is_no_brightfield_slide(tmp_path):
    path = tmp_path / "dark.tif"
    pixels = np.random.default_rng(0).integers(0, 20, (600, 600, 3)).astype(np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb")
    with pytest.raises(UnsuitableSlide, match="dark all over"):
        score_slide(job(path, mpp_um=0.5, mpp_source="flag"), ScoreConfig(out=tmp_path))
