"""Where the cells are and what of them can be judged: fields made here, simulated ones, and real ones."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from dtcseg_training.simulate import draw_spec, render_field
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from dtcseg.quality import (
    BLOCK_PX,
    CODE_COLOURS,
    CODE_NAMES,
    MIN_SHARPNESS,
    BlockGrid,
    BlockStats,
    Code,
    QualityMap,
    block_statistics,
    find_spots,
    focus_map,
    judge,
)
from dtcseg.stain.brightfield import BrightfieldProfile

HEMATOXYLIN = np.array([0.65, 0.70, 0.29])
GLASS = (238.0, 236.0, 230.0)


@lru_cache
def _nuclei(side: int = 512, per_mm2: float = 2000, density: float = 0.6, blur: float = 0.5, seed: int = 0):
    """Nuclei of 7 to 12 µm as a nuclear plane (side, side) float32 at 1 µm/px."""
    rng = np.random.default_rng(seed)
    plane = np.zeros((2 * side, 2 * side), np.float32)
    for y, x in rng.uniform(0, 2 * side, (rng.poisson(per_mm2 * side**2 / 1e6), 2)):
        radius = rng.uniform(7, 12)
        top, left = max(int(y) - 13, 0), max(int(x) - 13, 0)
        rows, cols = np.ogrid[top : min(top + 27, 2 * side), left : min(left + 27, 2 * side)]
        inside = (rows - y) ** 2 + (cols - x) ** 2 <= radius**2
        plane[top : top + 27, left : left + 27][inside] += density * rng.uniform(0.7, 1.3)
    plane = ndimage.gaussian_filter(plane, 2 * blur, mode="wrap")
    return plane.reshape(side, 2, side, 2).mean(axis=(1, 3))


def nuclei(*args, **options):
    return _nuclei(*args, **options).copy()


def planes(nuclear, noise: float = 0.01, seed: int = 1):
    result = np.random.default_rng(seed).normal(0, noise, (*nuclear.shape, 3)).astype(np.float32)
    result[..., 0] += nuclear
    return result


def codes(tile, **options):
    stats = block_statistics(tile)
    return judge(stats, np.ones(stats.values.shape[:2], np.float32), **options)


def share(values, code: Code) -> float:
    return float((values == code).mean())


def sharpness(tile, kind="brightfield") -> float:
    stats = block_statistics(tile, kind)
    return float(np.median(focus_map(stats, stats.measured)))


# --- the grid


@settings(max_examples=50, deadline=None)
@given(st.floats(1, 20_000), st.floats(1, 20_000), st.floats(20, 200))
def test_a_grid_covers_the_slide_and_no_more(width, height, block):
    grid = BlockGrid.covering(width, height, block)
    assert grid.areas_mm2().sum() == pytest.approx(width * height * 1e-6, rel=0.03)
    assert grid.areas_mm2().shape == (grid.rows, grid.cols)
    assert (grid.cols - 1) * block < width


@settings(max_examples=50, deadline=None)
@given(st.integers(70, 1500), st.integers(70, 1500), st.integers(40, 700), st.integers(0, 700))
def test_the_tiles_of_any_tiling_own_each_block_once(width, height, tile, shift):
    grid = BlockGrid.covering(width, height)
    owners = np.zeros((grid.rows, grid.cols), int)
    for y in range(-(shift % tile), height, tile):
        for x in range(-(shift % tile), width, tile):
            row0, row1, col0, col1 = grid.owned(x, y, min(x + tile, width), min(y + tile, height))
            owners[row0:row1, col0:col1] += 1
    assert (owners == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(3, 20))
def test_the_cover_of_a_mask_adds_up(seed, mpp):
    mask = np.random.default_rng(seed).random((37, 52)) < 0.4
    grid = BlockGrid.covering(52 * mpp, 37 * mpp)
    cover = grid.cover(mask, mpp)
    assert cover.shape == (grid.rows, grid.cols)
    assert cover.sum() * 64 * 64 == pytest.approx(mask.sum() * mpp * mpp, rel=0.02)
    assert cover.min() >= -1e-6
    assert cover.max() <= 1 + 1e-6


def test_cover_puts_a_mask_where_it_is():
    mask = np.zeros((40, 40), bool)
    mask[8:16, 24:32] = True  # at 8 µm: 64..128 down, 192..256 across
    cover = BlockGrid.covering(320, 320).cover(mask, 8.0)
    assert cover[1, 3] == pytest.approx(1)
    assert cover.sum() == pytest.approx(1)


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="positive size"):
        BlockGrid.covering(0, 100)


# --- statistics of blocks


@pytest.mark.parametrize("kind", ["brightfield", "fluorescence"])
def test_statistics_do_not_depend_on_the_tiling_bit_for_bit(kind):
    field = planes(nuclei(512), 0.03)
    whole = block_statistics(field, kind).values
    channels_first = np.ascontiguousarray(np.moveaxis(field, -1, 0))
    for height, width in ((64, 64), (64, 512), (512, 64), (128, 192)):
        stats = BlockStats.empty(8, 8)
        other = BlockStats.empty(8, 8)
        for y in range(0, 512, height):
            for x in range(0, 512, width):
                part = field[y : y + height, x : x + width]
                stats.put(y // 64, x // 64, block_statistics(part, kind))
                moved = np.moveaxis(channels_first[:, y : y + height, x : x + width], 0, -1)
                other.put(y // 64, x // 64, block_statistics(moved, kind))
        assert np.array_equal(stats.values, whole)
        assert np.array_equal(other.values, whole)


def test_shaded_glass_of_a_sparse_pale_slide_is_neither_crowded_nor_unstained():
    """The nuclear scale of a pale slide makes shading as strong as the faintest nuclei."""
    sparse = nuclei(512, 60)
    shade = np.linspace(0.11, 0.16, 512, dtype=np.float32)[None, :]
    found = codes(planes(sparse + shade))
    assert share(found, Code.UNSTAINED) == share(found, Code.OVERCROWDED) == 0
    assert share(found, Code.SCREENED) > 0.8
    assert share(codes(planes(nuclei(512, 30000) + shade)), Code.OVERCROWDED) > 0.9


def test_statistics_say_what_they_say():
    tile = np.zeros((64, 192, 3), np.float32)
    tile[:, :32, 0] = 0.5  # half of the first block under nuclear stain
    tile[:32, 64:128, 1] = 0.3  # half of the second under cytokeratin alone
    tile[:, 128:, 2] = 0.8  # all of the third of a colour of its own
    stats = block_statistics(tile)
    assert stats.nuclear[0].tolist() == [0.5, 0, 0]
    assert stats.trace[0].tolist() == [0.5, 0, 0]
    assert stats.staining[0] == pytest.approx([0.5, 0, 0])
    assert stats.mean[0] == pytest.approx([0.25, 0, 0])
    assert stats.pale[0].tolist() == [0, 0.5, 1]
    assert stats.cover[0].tolist() == [0.5, 0.5, 1]
    assert stats.artefact[0].tolist() == [0, 0, 1]
    assert block_statistics(tile, "fluorescence").artefact[0].tolist() == [0, 0, 0]


def test_the_noise_is_measured():
    stats = block_statistics(planes(np.zeros((256, 256), np.float32), 0.04))
    assert stats.noise.mean() == pytest.approx(0.02, rel=0.05)  # of 2 x 2 pixels
    assert abs(stats.gradient.mean()) < 6e-5  # the square of a difference would be 1.6e-3


def test_the_end_of_the_slide_needs_no_whole_blocks():
    field = planes(nuclei(192), 0.0)
    stats = block_statistics(field[:150, :100])
    assert stats.values.shape[:2] == (3, 2)
    assert stats.measured.all()
    assert np.array_equal(stats.values[:2, :1], block_statistics(field).values[:2, :1])


@pytest.mark.parametrize("shape", [(64, 64), (0, 64, 3), (64, 64, 4)])
def test_wrong_planes_are_refused(shape):
    with pytest.raises(ValueError, match="three planes"):
        block_statistics(np.zeros(shape, np.float32))


def test_statistics_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        BlockStats.empty(2, 2).put(1, 1, BlockStats.empty(2, 1))


# --- focus


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize(("per_mm2", "density"), [(500, 0.6), (2000, 0.25), (2000, 1.2), (6000, 0.6)])
def test_focus_falls_with_blur_whatever_the_density_and_the_stain(per_mm2, density, noise):
    field = nuclei(512, per_mm2, density)
    seen = [
        sharpness(planes(ndimage.gaussian_filter(field, sigma, mode="wrap"), noise)) for sigma in (0, 1.5, 2.5, 4, 6)
    ]
    assert seen == sorted(seen, reverse=True)
    assert seen[1] > MIN_SHARPNESS + 0.1
    assert seen[3] < MIN_SHARPNESS - 0.03
    # The same blur gives the same number.
    assert seen[1] == pytest.approx(0.55, abs=0.06)
    assert seen[3] == pytest.approx(0.24, abs=0.06)


@pytest.mark.parametrize("sigma", [0, 1.5])
def test_sharp_enough_is_screened(sigma):
    assert share(codes(planes(ndimage.gaussian_filter(nuclei(512, 1500), sigma))), Code.SCREENED) == 1


@pytest.mark.parametrize("sigma", [4, 8, 20])
def test_a_blurred_field_is_not_screened(sigma):
    found = codes(planes(ndimage.gaussian_filter(nuclei(512, 3000), sigma)))
    assert share(found, Code.SCREENED) == 0
    assert share(found, Code.BLURRED) > 0.9


def test_the_border_of_a_blurred_half_lies_where_it_is():
    field = nuclei(1024, 2500)
    field[:, 512:] = ndimage.gaussian_filter(field, 5)[:, 512:]
    found = codes(planes(field))
    assert share(found[:, :7], Code.SCREENED) > 0.98
    assert share(found[:, 9:], Code.BLURRED) > 0.95


def test_empty_glass_between_cells_takes_the_focus_of_its_neighbours():
    sharp = nuclei(768, 2500)
    blurred = ndimage.gaussian_filter(sharp, 5)
    for field, code in ((sharp, Code.SCREENED), (blurred, Code.BLURRED)):
        hollow = field.copy()
        hollow[256:448, 256:448] = 0
        assert share(codes(planes(hollow)), code) == 1


def test_a_spot_without_any_cells_is_screened_and_empty():
    assert share(codes(planes(np.zeros((512, 512), np.float32), 0.02)), Code.SCREENED) == 1


def test_a_speck_of_sharp_dust_does_not_bring_a_blurred_field_into_focus():
    field = ndimage.gaussian_filter(nuclei(512, 2500), 5)
    field[200:212, 210:222] = 1.5
    assert share(codes(planes(field)), Code.SCREENED) <= 1 / 64


@pytest.mark.parametrize("stain", ["new_fuchsin", "dab"])
def test_simulated_slides_keep_their_focus_through_jpeg(stain):
    spec = draw_spec(np.random.default_rng(7), stain=stain, mpp_um=0.5, size_px=(384, 384), enriched=False)
    camera = replace(spec.camera, jpeg_quality=60, jpeg_subsampling="420", sharpen=0.3, photons=2000.0)
    seen = []
    for sigma in (1.5, 4.0, 6.0):
        optics = replace(spec.optics, blur_um=sigma, defocus_um=0.0, defocus_share=0.0)
        field = render_field(replace(spec, camera=camera, optics=optics), np.random.default_rng(3))
        white = tuple(255 * level for level in camera.white)
        vectors = [tuple(float(part) for part in vector) for vector in field.stain_vectors]
        profile = BrightfieldProfile(stain, "flag", white, *vectors, 1.0, True)
        tile = profile.planes(field.image).reshape(3, 192, 2, 192, 2).mean(axis=(2, 4))
        seen.append(sharpness(np.moveaxis(tile, 0, -1)))
    assert seen[0] > MIN_SHARPNESS + 0.1
    assert MIN_SHARPNESS > seen[1] > seen[2]


@pytest.mark.realdata
@pytest.mark.parametrize("number", [2, 3, 15])
def test_real_fluorescent_cytospins(shared_data, number):
    image = Image.open(shared_data / "cytospin_dapi" / f"Neuroblastoma_{number}.jpg").reduce(2)
    check_real(scaled(np.asarray(image, np.float32)), 0.24, "fluorescence")


@pytest.mark.realdata
def test_a_real_fluorescent_slide(shared_data):
    with tifffile.TiffFile(shared_data / "readers" / "hamamatsu" / "test3-DAPI.ndpi") as slide_file:
        grey = slide_file.series[0].levels[1].asarray().max(axis=-1)
    check_real(scaled(grey[500:1100, 400:1000].astype(np.float32)), 0.456, "fluorescence")


@pytest.mark.realdata
def test_real_marrow_nuclei_in_brightfield(shared_data):
    files = sorted((shared_data / "marrow_cells_brightfield").glob("*.png"))
    names = [path for path in files if not path.stem.endswith("_labels")][:2]
    for path in names:
        rgb = np.asarray(Image.open(path).convert("RGB"), np.float32)
        density = -np.log10(np.maximum(rgb, 1) / np.percentile(rgb, 98, axis=(0, 1)))
        check_real((density @ HEMATOXYLIN).astype(np.float32), 0.35, "brightfield")


def scaled(grey):
    low, high = np.percentile(grey, [5, 95])
    return ((grey - low) / (high - low) * 0.6).astype(np.float32)


def check_real(nuclear, mpp, kind):
    """Blur a real image at its own resolution, bring it to 1 µm/px, mirror it to whole blocks, measure."""
    seen = []
    for sigma in (0.0, 1.5, 4.0, 6.0):
        blurred = ndimage.gaussian_filter(nuclear, sigma / mpp) if sigma else nuclear
        size = (round(nuclear.shape[1] * mpp), round(nuclear.shape[0] * mpp))
        small = np.asarray(Image.fromarray(blurred).resize(size, Image.Resampling.BOX))
        pad = [(0, max(-length % BLOCK_PX, 128 - length)) for length in small.shape]
        seen.append(sharpness(planes(np.pad(small, pad, mode="symmetric"), 0.0), kind))
    assert seen == sorted(seen, reverse=True)
    assert seen[1] > MIN_SHARPNESS > seen[2]


# --- staining, crowding, artefact


def test_cells_without_nuclear_stain_are_unstained():
    field = nuclei(768, 3000)
    tile = planes(np.zeros_like(field))
    tile[..., 2] += 0.4 * (field > 0.3)
    assert share(codes(tile), Code.UNSTAINED) > 0.95
    tile[..., 0] += field
    assert share(codes(tile), Code.SCREENED) == 1


def test_nuclei_that_drown_in_noise_are_not_screened():
    assert share(codes(planes(nuclei(512, 3000, 0.15), 0.15)), Code.SCREENED) < 0.05


def test_light_counterstain_is_screened():
    assert share(codes(planes(nuclei(512, 2000, 0.25), 0.02)), Code.SCREENED) == 1


@pytest.mark.parametrize(("per_mm2", "code"), [(6000, Code.SCREENED), (25_000, Code.OVERCROWDED)])
def test_cells_over_each_other_are_not_screened(per_mm2, code):
    assert share(codes(planes(nuclei(512, per_mm2))), code) > 0.95


def test_a_clump_of_tumour_cells_stays_in():
    field = nuclei(768, 2000)
    field[300:460, 300:460] = nuclei(160, 30_000, seed=3)
    assert share(codes(planes(field)), Code.SCREENED) == 1


@pytest.mark.parametrize("plane", [0, 2])
def test_ink_seen_in_the_planes(plane):
    tile = planes(nuclei(512))
    tile[128:192, 64:320, plane] = 2.8
    found = codes(tile)
    assert (found[2, 1:5] == Code.INK).all()
    assert share(found, Code.INK) == 4 / 64
    assert share(found, Code.SCREENED) == 60 / 64


def test_what_the_caller_knows_is_heard():
    stats = block_statistics(planes(nuclei(512)))
    spot = np.ones((8, 8), np.float32)
    spot[:, 6:] = 0
    ink = np.zeros((8, 8), np.float32)
    ink[0, :3] = 0.4, 0.6, 1.0
    unreadable = np.zeros((8, 8), bool)
    unreadable[0, 2:4] = True
    found = judge(stats, spot, ink=ink, unreadable=unreadable)
    assert found[0].tolist() == [1, 5, 6, 6, 1, 1, 0, 0]
    assert share(found[1:, :6], Code.SCREENED) == 1
    assert share(found[:, 6:], Code.OUTSIDE) == 1


def test_what_nobody_looked_at_is_not_screened():
    stats = BlockStats.empty(8, 8)
    stats.put(0, 0, block_statistics(planes(nuclei(512))[:256]))
    found = judge(stats, np.ones((8, 8), np.float32))
    assert share(found[:4], Code.SCREENED) == 1
    assert share(found[4:], Code.UNREADABLE) == 1


# --- the map


def quality_map(text: str, width: float = 256.0, height: float = 256.0) -> QualityMap:
    rows = np.array([[int(digit) for digit in line] for line in text.split()], np.uint8)
    return QualityMap(BlockGrid(rows.shape[0], rows.shape[1], width, height), rows)


def test_areas_and_flags():
    quality = quality_map("0111 1112 1122 1113")
    block = 0.064**2
    assert quality.area_mm2(Code.SCREENED) == pytest.approx(11 * block)
    assert quality.spot_mm2() == pytest.approx(15 * block)
    assert quality.excluded_mm2() == pytest.approx({"blurred": 3 * block, "unstained": block})
    assert quality.assessable()
    assert quality.flags(5000) == ("blurred:20%", "unstained:7%")
    assert quality.flags(999) == ("blurred:20%", "unstained:7%", "few_cells")


def test_a_bad_slide_is_no_negative_slide():
    assert quality_map("2222 2221 2222 1111").flags(5000) == ("not_assessable", "blurred:69%")
    assert not quality_map("2222 2221 2222 1111").assessable()
    assert quality_map("0000 0000").flags(0) == ("no_spot",)
    assert quality_map("0000 0000").spot_mm2() == 0
    assert not quality_map("0000 0000").assessable()


def test_damage_is_named_however_small():
    grid = BlockGrid.covering(6400, 6400)
    rows = np.ones((100, 100), np.uint8)
    rows[5, 5], rows[6, 6] = Code.UNREADABLE, Code.BLURRED
    assert QualityMap(grid, rows).flags(10_000) == ("unreadable:<1%",)


def test_blocks_over_the_edge_count_as_far_as_they_are_on_the_slide():
    quality = quality_map("11 11", 100.0, 64.0 + 16.0)
    assert quality.area_mm2(Code.SCREENED) == pytest.approx(100e-3 * 80e-3)


def test_points():
    quality = quality_map("0111 1112 1122 1113")
    x, y = np.array([10.0, 70, 255.9, 256, -0.1, 200]), np.array([10.0, 10, 70, 70, 70, 30])
    assert quality.is_screened(x, y).tolist() == [False, True, False, False, False, True]
    assert quality.codes_at(255.9, 255.9) == Code.UNSTAINED


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_map_comes_back_from_json(rows, cols, seed):
    values = np.random.default_rng(seed).integers(0, 7, (rows, cols)).astype(np.uint8)
    quality = QualityMap(BlockGrid.covering(cols * 64 - 10, rows * 64 - 20), values)
    assert QualityMap.from_json(json.loads(json.dumps(quality.to_json()))) == quality
    assert quality.spot_mm2() == pytest.approx(quality.area_mm2(Code.SCREENED) + sum(quality.excluded_mm2().values()))


@pytest.mark.parametrize("record", [{}, {"codes": ["12", "1"]}, {"codes": "12"}, {"codes": ["19"], "block_um": 64}])
def test_another_record_is_refused(record):
    full = {"block_um": 64, "width_um": 100, "height_um": 60, "codes": ["19"]}
    with pytest.raises(ValueError, match=r"quality map|means nothing"):
        QualityMap.from_json({**full, **record} if record else {})


def test_codes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        QualityMap(BlockGrid(2, 2, 128, 128), np.zeros((2, 3), np.uint8))


def test_the_picture_shows_the_codes():
    picture = Image.open(io.BytesIO(quality_map("0123 4561").render_png(80)))
    assert picture.mode == "RGBA"
    assert picture.size == (80, 40)
    for index, code in enumerate((0, 1, 2, 3, 4, 5, 6, 1)):
        assert picture.getpixel((index % 4 * 20 + 10, index // 4 * 20 + 10)) == CODE_COLOURS[Code(code)]
    wide = QualityMap(BlockGrid.covering(64 * 900, 640), np.ones((10, 900), np.uint8))
    assert max(Image.open(io.BytesIO(wide.render_png(400))).size) <= 400


def test_every_code_has_a_name_and_a_colour_of_its_own():
    assert set(CODE_NAMES) == set(CODE_COLOURS) == set(Code)
    assert len(set(CODE_NAMES.values())) == len(set(CODE_COLOURS.values())) == len(Code)


# --- spots


@lru_cache
def slide(
    per_mm2: float = 1500,
    mpp: float = 8.0,
    across_mm: float = 4.0,
    size: tuple[int, int] = (700, 900),
    density: float = 0.5,
    glass: tuple[float, float, float] = (238.0, 236.0, 230.0),
    shade: float = 0.0,
    hollow: float = 0.0,
    seed: int = 0,
):
    """An overview with a round deposit of separate cells in its middle, and the mask of the deposit."""
    rng = np.random.default_rng(seed)
    rows, cols = size
    radius = across_mm * 500 / mpp
    number = rng.poisson(per_mm2 * np.pi * (across_mm / 2) ** 2)
    distance = np.sqrt(rng.uniform(hollow**2, 1, number)) * radius
    angle = rng.uniform(0, 2 * np.pi, number)
    y, x = rows / 2 + distance * np.sin(angle), cols / 2 + distance * np.cos(angle)
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < cols)
    plane = np.zeros(size)
    np.add.at(plane, (y[inside].astype(int), x[inside].astype(int)), density * 60 / mpp**2)
    plane = ndimage.gaussian_filter(plane, 3 / mpp)
    down, across = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : cols * 1j]
    light = np.array(glass) * (1 - shade * (down**2 + across**2) / 2)[..., None]
    image = light * 10 ** (-plane[..., None] * HEMATOXYLIN / 0.7) + rng.normal(0, 1.2, (rows, cols, 3))
    truth = (np.arange(rows)[:, None] - rows / 2) ** 2 + (np.arange(cols)[None] - cols / 2) ** 2 <= radius**2
    image = np.clip(image, 0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image, truth


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_mm2": 500, "density": 0.3},
        {"per_mm2": 500, "density": 0.35, "mpp": 16.0, "size": (400, 500)},
        {"per_mm2": 8000},
        {"glass": (232.0, 224.0, 196.0)},
        {"shade": 0.15, "per_mm2": 600},
        {"mpp": 4.0, "across_mm": 2.5},
        {"hollow": 0.7},
    ],
    ids=["usual", "sparse", "coarse", "dense", "tinted", "vignetted", "fine", "ring"],
)
def test_a_spot_is_found_whole(options):
    image, truth = slide(**options)
    spots = find_spots(image, options.get("mpp", 8.0), "brightfield")
    assert spots.mask[truth].all()
    assert len(spots.spots) == 1
    assert spots.flags == ()
    # No more than the 0.45 mm around it in which its cells are felt.
    wide = np.sqrt(truth.sum() / np.pi) + 450 / options.get("mpp", 8.0)
    assert spots.mask.sum() <= np.pi * wide**2
    assert spots.glass == pytest.approx(options.get("glass", GLASS), rel=0.07 if "shade" in options else 0.012)


def test_the_spots_say_where_they_are():
    image, _ = slide()
    found = find_spots(image, 8.0, "brightfield").spots[0]
    assert found.x_um + found.width_um / 2 == pytest.approx(3600, abs=60)
    assert found.y_um + found.height_um / 2 == pytest.approx(2800, abs=60)
    assert found.area_mm2 == pytest.approx(np.pi * 2.25**2, rel=0.15)
    assert found.width_um == pytest.approx(4500, rel=0.1)


def test_two_spots():
    left, _ = slide(across_mm=3, seed=1, size=(500, 600))
    right, _ = slide(across_mm=2, seed=2, size=(500, 600))
    found = find_spots(np.hstack([left, right]), 8.0, "brightfield").spots
    assert len(found) == 2
    assert found[0].area_mm2 > found[1].area_mm2
    assert found[0].x_um < found[1].x_um


@pytest.mark.parametrize(
    ("level", "flags"), [(255, ("no_spot",)), (128, ("no_spot",)), (0, ("no_spot", "dark")), (20, ("no_spot", "dark"))]
)
def test_blank_images_hold_nothing(level, flags):
    spots = find_spots(np.full((300, 400, 3), level, np.uint8), 8.0, "brightfield")
    assert not spots.mask.any()
    assert spots.spots == ()
    assert spots.flags == flags


def test_clean_and_dusty_glass_hold_nothing():
    rng = np.random.default_rng(0)
    image, _ = slide(per_mm2=0)
    assert find_spots(image, 8.0, "brightfield").flags == ("no_spot",)
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for x, y in rng.integers(0, 690, (50, 2)):
        draw.ellipse([x, y, x + rng.integers(1, 4), y + rng.integers(1, 4)], fill=(90, 80, 70))
    draw.line([(700, 100), (740, 160), (730, 200)], fill=(120, 110, 100), width=2)
    assert find_spots(np.asarray(picture), 8.0, "brightfield").flags == ("no_spot",)


def test_frames_fill_and_coverslip_edges_are_no_cells():
    image, truth = slide(across_mm=3)
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 0, 40, 700], fill=(3, 2, 4))
    draw.rectangle([850, 0, 900, 700], fill=(255, 255, 255))
    draw.line([(60, 40), (840, 55)], fill=(180, 180, 180), width=3)
    draw.line([(800, 20), (806, 690)], fill=(150, 150, 150), width=4)
    spots = find_spots(np.asarray(picture), 8.0, "brightfield")
    assert len(spots.spots) == 1
    assert spots.mask[truth].all()
    assert not spots.mask[:, 780:].any()
    assert not spots.mask[:, :120].any()
    assert spots.glass == pytest.approx(GLASS, rel=0.012)


@pytest.mark.parametrize("colour", [(30, 50, 170), (20, 120, 60), (14, 14, 17)], ids=["blue", "green", "black"])
def test_ink_is_reported_and_its_cells_are_not_screened(colour):
    image, truth = slide()
    strokes = Image.new("L", (900, 700))
    draw = ImageDraw.Draw(strokes)
    draw.line([(330, 300), (560, 380)], fill=255, width=40)
    draw.line([(20, 650), (300, 670)], fill=255, width=40)
    solid = np.asarray(strokes) > 0
    weight = 0.92 * ndimage.gaussian_filter(solid.astype(float), 1.0)[..., None]
    inked = (image * (1 - weight) + weight * image / 255.0 * np.array(colour)).astype(np.uint8)
    spots = find_spots(inked, 8.0, "brightfield")
    assert spots.flags == ("ink",)
    assert spots.ink[ndimage.binary_erosion(solid, iterations=4)].mean() > 0.97
    assert not spots.ink[~ndimage.binary_dilation(solid, iterations=5)].any()
    assert spots.mask[truth].all()
    assert not spots.mask[640:, :250].any()
    grid = BlockGrid.covering(900 * 8, 700 * 8)
    found = judge(BlockStats.empty(grid.rows, grid.cols), spots.cover(grid), ink=spots.ink_cover(grid))
    assert found[42, 55] == Code.UNREADABLE  # never measured
    assert spots.ink_cover(grid)[42, 55] == pytest.approx(1)


def test_cells_are_not_ink():
    image, _ = slide(per_mm2=9000, density=1.0)
    assert not find_spots(image, 8.0, "brightfield").ink.any()


@pytest.mark.parametrize("per_mm2", [500, 5000])
def test_a_fluorescent_spot(per_mm2):
    image, truth = slide(per_mm2=per_mm2)
    channel = ((GLASS[0] - image[..., 0].astype(float)) * 30 + 400).clip(0).astype(np.uint16)
    spots = find_spots(channel, 8.0, "fluorescence")
    assert spots.mask[truth].all()
    assert spots.mask.mean() < 0.6
    assert spots.glass is None
    assert spots.flags == ()


@pytest.mark.parametrize("level", [0, 3, 200, 4000])
def test_dark_fluorescence_holds_nothing(level):
    channel = np.random.default_rng(0).normal(level, 0.01 * level + 0.2, (300, 400)).clip(0).round().astype(np.uint16)
    assert find_spots(channel, 8.0, "fluorescence").flags == ("no_spot",)
    assert not find_spots(channel, 8.0, "fluorescence").mask.any()


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["smears", "marrow_cells_brightfield", "marrow_he", "cytospin_dapi"])
def test_real_fields_full_of_cells_are_screened_whole(shared_data, name):
    files = [path for path in sorted((shared_data / name).rglob("*.*g")) if not path.stem.endswith("_labels")]
    for path in files[:: max(1, len(files) // 7)]:
        field = Image.open(path)
        field = field if name == "cytospin_dapi" else field.convert("RGB")
        mpp = {"cytospin_dapi": 0.12, "smears": 0.1}.get(name, 0.3)
        small = field.resize([max(2, round(length * mpp / 4)) for length in field.size], Image.Resampling.BOX)
        kind = "fluorescence" if name == "cytospin_dapi" else "brightfield"
        assert find_spots(np.asarray(small), 4.0, kind).mask.all(), path.name


@pytest.mark.realdata
def test_real_scans(shared_data):
    rgb = Image.fromarray(tifffile.imread(shared_data / "readers" / "aperio" / "CMU-1-Small-Region.svs"))
    spots = find_spots(np.asarray(rgb.resize((139, 185), Image.Resampling.BOX)), 8.0, "brightfield")
    assert spots.glass == pytest.approx([246, 243, 243], abs=2)
    assert "ink" not in spots.flags
    assert spots.mask.mean() > 0.9


@pytest.mark.parametrize(
    ("shape", "mpp", "kind"),
    [((10, 10), 8.0, "brightfield"), ((10, 10, 3), 8.0, "fluorescence"), ((10, 10, 3), 0.0, "brightfield")],
)
def test_what_is_no_overview_is_refused(shape, mpp, kind):
    with pytest.raises(ValueError, match="overview"):
        find_spots(np.zeros(shape, np.uint8), mpp, kind)


def test_spots_for_the_record():
    image, _ = slide()
    record = json.loads(json.dumps(find_spots(image, 8.0, "brightfield").to_json()))
    assert record["flags"] == []
    assert len(record["glass"]) == 3
    assert set(record["spots"][0]) == {"x_um", "y_um", "width_um", "height_um", "area_mm2"}


def test_paths_of_this_room_load_no_network():
    source = Path(__file__).parents[1] / "dtcseg" / "quality"
    assert not any("import torch" in path.read_text() for path in source.glob("*.py"))
