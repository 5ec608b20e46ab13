"""Whole slides: readable pyramids, blocks that fit together, repeated squares, truth beside them."""

import csv
import hashlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from dtcseg_training.simulate import draw_slide_spec, read_truth, simulate, write_slide
from dtcseg_training.simulate.pyramid import Form, Pyramid
from dtcseg_training.simulate.slides import SlideScene, form_of
from dtcseg_training.simulate.spec import Camera, FieldSpec, Fluorescence, Optics

COUNTS = (("tumour_single", 3), ("tumour_pair", 1), ("hc_even", 2), ("precipitate", 2), ("dust", 2))


def small(stain="new_fuchsin", size=(640, 900), **changes):
    spec = FieldSpec(stain=stain, size_px=size, counts=COUNTS, density_per_mm2=1500, optics=Optics(0.3))
    return replace(spec, **changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("slides") / "a.ome.tif"
    return path, write_slide(path, small(size=(1100, 1500)), 7, tile_px=256)


def test_pyramid_is_readable(written):
    path, _ = written
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.is_bigtiff
        series = file.series[0]
        assert [level.shape for level in series.levels] == [(1100, 1500, 3), (550, 750, 3)]
        page = file.pages[0]
        assert (page.tilewidth, page.tilelength, page.compression) == (256, 256, tifffile.COMPRESSION.JPEG)
        assert 'PhysicalSizeX="0.5"' in file.ome_metadata
        full, half = (series.levels[i].asarray().astype(float) for i in (0, 1))
    assert not list(path.parent.glob(".*"))
    averaged = full.reshape(550, 2, 750, 2, 3).mean(axis=(1, 3))
    assert np.abs(averaged - half).mean() < 3


def test_glass_around_the_spot_is_empty(written):
    path, truth = written
    image = tifffile.imread(path)
    corners = [image[:60, :60], image[-60:, :60], image[:60, -60:], image[-60:, -60:]]
    assert all(np.percentile(corner, 1) > 180 for corner in corners)
    centre = np.hypot(truth.nuclei_px[:, 0] - 750, truth.nuclei_px[:, 1] - 550)
    assert centre.max() < 0.6 * 1500
    assert len(truth.nuclei_px) > 150


def test_truth_is_read_back(written):
    path, truth = written
    again = read_truth(path)
    assert np.allclose(again.nuclei_px, truth.nuclei_px)
    assert [cell.call for cell in again.cells] == [cell.call for cell in truth.cells]
    assert sum(cell.call == "tumour" for cell in truth.cells) == 5
    for one, other in zip(again.cells, truth.cells, strict=True):
        assert one.x_px == pytest.approx(other.x_px, abs=0.01)
        assert np.allclose(one.outline, other.outline, atol=0.06)
    order = np.lexsort((truth.nuclei_px[:, 0], truth.nuclei_px[:, 1]))
    assert np.array_equal(order, np.arange(len(order)))


def test_truth_lies_on_dark_nuclei(written):
    path, truth = written
    image = tifffile.imread(path).astype(float)
    x, y = truth.nuclei_px.round().astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < 1500) & (y < 1100)
    assert image[y[inside], x[inside], 0].mean() < np.percentile(image[..., 0], 60) - 30


def test_same_seed_same_bytes(tmp_path):
    digests = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_slide(tmp_path / folder / "s.ome.tif", small(size=(400, 500)), 3, tile_px=128)
        files = sorted((tmp_path / folder).iterdir())
        digests.append([(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 3


def test_blocks_do_not_depend_on_their_order_and_fit_together():
    quiet = small(size=(512, 512), camera=Camera(photons=1e9, read_noise=0, jpeg_quality=None, shading=0.05))
    forward = SlideScene(quiet, 5, block_px=256)
    backward = SlideScene(quiet, 5, block_px=256)
    places = [(r, c) for r in range(2) for c in range(2)]
    one = {place: forward.render(*place) for place in places}
    two = {place: backward.render(*place) for place in reversed(places)}
    for place in places:
        assert np.array_equal(one[place].image, two[place].image)
        assert len(one[place].cells) == len(two[place].cells)
    upper = np.concatenate([one[0, 0].image, one[0, 1].image], axis=1).astype(int)
    lower = np.concatenate([one[1, 0].image, one[1, 1].image], axis=1).astype(int)
    image = np.concatenate([upper, lower])
    steps = np.abs(np.diff(image, axis=0)).mean(axis=(1, 2))
    assert steps[255] < 1.5 * np.median(steps[225:285])
    owners = [(cell.x_px, cell.y_px) for block in one.values() for cell in block.cells]
    assert len(owners) == len(set(owners))


def test_a_window_drawn_whole_equals_the_blocks():
    quiet = small(size=(512, 512), camera=Camera(photons=1e9, read_noise=0, jpeg_quality=None))
    scene = SlideScene(quiet, 9, block_px=256)
    part = scene.render(0, 1)
    whole = _render_window(SlideScene(quiet, 9, block_px=256), 512)
    assert np.abs(whole[:256, 256:].astype(int) - part.image.astype(int)).max() <= 1


def _render_window(scene, size):
    items = {}
    for row in range(scene.rows):
        for column in range(scene.columns):
            for item in scene.items(row, column, 40.0):
                items.setdefault(item.seed, item)
    inner = scene._scene
    canvas = inner.canvas(0, 0, size, size)
    for item in items.values():
        inner.draw(canvas, item, -1)
    return inner.expose(inner.light(canvas, 0, 0, (size, size)), np.random.default_rng(0))


def test_fluorescence_has_named_channels_and_16_bits(tmp_path):
    path = tmp_path / "f.ome.tif"
    write_slide(path, small("if", (400, 1200), fluorescence=Fluorescence(bits=12)), 4, tile_px=256)
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        assert (series.axes, series.dtype) == ("CYX", np.uint16)
        assert [level.shape for level in series.levels] == [(3, 400, 1200), (3, 200, 600)]
        assert all(f'Name="{name}"' in file.ome_metadata for name in ("DAPI", "CK", "CD45"))
        full = series.asarray()
    assert 0 < full.max() <= 4095
    write_slide(path, small("if", (300, 300), fluorescence=Fluorescence(bits=8, cd45=False)), 4, tile_px=256)
    with tifffile.TiffFile(path) as file:
        assert file.series[0].shape == (2, 300, 300)
        assert file.pages[0].compression == tifffile.COMPRESSION.JPEG


def test_repeated_square_fits_and_has_all_its_truth(tmp_path):
    path = tmp_path / "r.ome.tif"
    spec = small(size=(1300, 1536), density_per_mm2=2000)
    truth = write_slide(path, spec, 3, tile_px=128, repeat_px=512)
    with tifffile.TiffFile(path) as file:
        levels = [level.asarray() for level in file.series[0].levels]
    assert [level.shape for level in levels] == [(1300, 1536, 3), (650, 768, 3)]
    assert np.array_equal(levels[0][:512, :512], levels[0][512:1024, 1024:1536])
    assert np.array_equal(levels[1][:256, :256], levels[1][256:512, 256:512])
    steps = np.abs(np.diff(levels[0].astype(int), axis=1)).mean(axis=(0, 2))
    assert steps[511] < 2 * np.median(steps) + 1
    copies = np.sum(truth.nuclei_px // 512 == [0, 0], axis=1)
    assert np.sum(copies == 2) == pytest.approx(len(truth.nuclei_px) * 512**2 / (1300 * 1536), rel=0.1)
    tumour = [cell for cell in truth.cells if cell.call == "tumour"]
    assert len(tumour) >= 5 * 6
    with pytest.raises(ValueError, match="repeat_px"):
        write_slide(path, spec, 3, tile_px=128, repeat_px=384)


def test_memory_holds_no_more_than_strips(tmp_path):
    form = Form(2048, 256, ("R", "G", "B"), 8, 0.5, tile_px=64)
    rng = np.random.default_rng(0)
    rows = []
    with Pyramid(tmp_path / "p.ome.tif", form) as pyramid:
        for _ in range(0, 2048, 64):
            strip = rng.integers(200, 210, (64, 256, 3)).astype(np.uint8)
            rows.append(strip)
            pyramid.push(strip)
            held = sum(half.nbytes for half in pyramid._waiting if half is not None)
            assert held <= 64 * 256 * 3
        pyramid.finish()
    read = tifffile.imread(tmp_path / "p.ome.tif")
    assert np.abs(read.astype(int) - np.concatenate(rows)).max() < 15


def fail_half_way(path):
    with Pyramid(path, Form(512, 512, ("R", "G", "B"), 8, 0.5, tile_px=64)) as pyramid:
        pyramid.push(np.zeros((64, 512, 3), np.uint8))
        raise RuntimeError("stop")


def test_nothing_is_left_behind_when_it_fails(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        fail_half_way(tmp_path / "p.ome.tif")
    assert not list(tmp_path.iterdir())


def test_simulate_writes_a_folder(tmp_path):
    told = []
    simulate(
        tmp_path / "out",
        slides=2,
        seed=1,
        stain="dab",
        width_mm=0.3,
        height_mm=0.2,
        enriched=True,
        tile_px=128,
        on_slide=lambda name, truth: told.append((name, len(truth.nuclei_px))),
    )
    with (tmp_path / "out" / "slides.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [name for name, _ in told]
    assert {row["stain"] for row in rows} == {"dab"}
    assert {row["role"] for row in rows} == {"sample"}
    assert {float(row["mpp"]) for row in rows} == {0.5}
    assert tifffile.imread(tmp_path / "out" / rows[0]["file"]).shape == (400, 600, 3)


def test_prevalence_of_ordinary_and_enriched_slides():
    size = (20000, 20000)
    rng = np.random.default_rng(0)
    plain = [draw_slide_spec(rng, mpp_um=0.5, size_px=size) for _ in range(20)]
    rich = [draw_slide_spec(rng, mpp_um=0.5, size_px=size, enriched=True) for _ in range(20)]

    def per_million(specs):
        tumour = sum(number for spec in specs for kind, number in spec.counts if kind.startswith("tumour"))
        return tumour / sum(0.62 * spec.area_mm2 * spec.density_per_mm2 for spec in specs) * 1e6

    assert 2 < per_million(plain) < 15
    assert per_million(rich) > 500
    assert form_of(plain[0], 512).levels >= 5
