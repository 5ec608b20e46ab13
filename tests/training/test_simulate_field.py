"""Rendered fields: the truth agrees with the pixels, the same seed gives the same field, every kind is drawn."""

from dataclasses import replace

import numpy as np
import pytest
from dtcseg_training.simulate import draw_spec, render_field
from dtcseg_training.simulate.artefacts import ARTEFACTS
from dtcseg_training.simulate.cytokeratin import HAEMATOPOIETIC, TUMOUR, UNINTERPRETABLE, draw_style
from dtcseg_training.simulate.field import Grid
from dtcseg_training.simulate.layout import Box, Placed, place_ordinary
from dtcseg_training.simulate.leukocytes import ORDINARY
from dtcseg_training.simulate.spec import (
    COMPOSITION,
    Camera,
    FieldSpec,
    Fluorescence,
    Optics,
    Staining,
)

from dtcseg.cells import STAINS

CALLED = (*TUMOUR, *UNINTERPRETABLE, *HAEMATOPOIETIC)


def plain(stain, size=(384, 384), counts=(("tumour_single", 4), ("hc_even", 2)), **changes):
    """A clean, sharp laboratory, so that pixels can be held against the truth."""
    spec = FieldSpec(
        stain=stain,
        size_px=size,
        density_per_mm2=1200,
        red_cells_per_mm2=0,
        counts=counts,
        staining=Staining(ck_od=0.3, background_ck_od=0, cytoplasm_ck_od=0),
        camera=Camera(jpeg_quality=None, gamma=1.0, photons=1e5, shading=0),
        fluorescence=Fluorescence(bits=16, photons=(5e4, 5e4, 5e4), haze=0),
        optics=Optics(blur_um=0.25),
    )
    return replace(spec, **changes)


def stain_planes(field):
    """Hematoxylin and chromogen densities (or DAPI and CK signal) of a field."""
    if field.channels[0] == "DAPI":
        return field.image[..., 0].astype(float), field.image[..., 1].astype(float)
    white = np.percentile(field.image, 99.5, axis=(0, 1))
    density = -np.log10(np.clip(field.image / white, 1 / 255, 1))
    shares = density.reshape(-1, 3) @ np.linalg.pinv(field.stain_vectors)
    planes = shares.reshape(*field.image.shape[:2], 2)
    return planes[..., 0], planes[..., 1]


@pytest.mark.parametrize("stain", STAINS)
def test_truth_agrees_with_pixels(stain):
    field = render_field(plain(stain), np.random.default_rng(5))
    nuclear, ck = stain_planes(field)
    ordinary = (field.nucleus_labels == 0) & (field.ck_labels == 0)
    assert nuclear[field.nucleus_labels > 0].mean() > 3 * max(nuclear[ordinary].mean(), 1e-3)
    tumour = [i + 1 for i, cell in enumerate(field.cells) if cell.call == "tumour"]
    assert len(tumour) == 4
    for number in tumour:
        seen = field.ck_labels == number
        assert np.median(ck[seen]) > np.median(ck[ordinary]) + 3 * np.std(ck[ordinary])
        if stain != "if":
            assert ck[seen].mean() == pytest.approx(field.cells[number - 1].ck_od, rel=0.35)


def test_labels_match_cells():
    field = render_field(plain("dab"), np.random.default_rng(6))
    nuclei = {n for n in np.unique(field.nucleus_labels) if n > 0}
    objects = {n for n in np.unique(field.ck_labels) if n > 0}
    assert all(field.cells[n - 1].nucleated for n in nuclei)
    assert all(field.cells[n - 1].call for n in objects)
    whole = 0
    for number, cell in enumerate(field.cells, start=1):
        if not cell.nucleated or not (12 < cell.nucleus_x_px < 370 and 12 < cell.nucleus_y_px < 370):
            continue
        rows, columns = np.nonzero(field.nucleus_labels == number)
        if len(rows) * field.mpp_um**2 < 0.9 * cell.nucleus_area_um2:
            continue  # partly hidden under a neighbour
        whole += 1
        assert np.hypot(columns.mean() - cell.nucleus_x_px, rows.mean() - cell.nucleus_y_px) < 2.5
    assert whole > 20


def test_outline_is_a_closed_ring_around_the_labelled_pixels():
    field = render_field(plain("fast_red"), np.random.default_rng(7))
    for number, cell in enumerate(field.cells, start=1):
        if cell.call not in ("tumour", "haematopoietic"):
            continue
        ring = cell.outline.astype(float)
        assert np.array_equal(ring[0], ring[-1])
        x, y = ring[:, 0], ring[:, 1]
        area = 0.5 * abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) * field.mpp_um**2
        assert 2 * np.sqrt(area / np.pi) == pytest.approx(cell.diameter_um, rel=0.02)
        if x.min() > 0 and y.min() > 0 and x.max() < 383 and y.max() < 383:
            seen = (field.ck_labels == number).sum() * field.mpp_um**2
            assert 0.5 * area < seen < 1.1 * area


def test_same_seed_same_field():
    def make():
        rng = np.random.default_rng(11)
        return render_field(draw_spec(rng, size_px=(256, 256)), rng)

    first, second = make(), make()
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.nucleus_labels, second.nucleus_labels)
    assert [cell.kind for cell in first.cells] == [cell.kind for cell in second.cells]


@pytest.mark.parametrize("kind", CALLED)
def test_every_ck_kind_is_drawn_and_called(kind):
    spec = plain("new_fuchsin", (200, 200), ((kind, 1),), density_per_mm2=0)
    field = render_field(spec, np.random.default_rng(3))
    found = [cell for cell in field.cells if cell.kind == kind]
    assert found
    expected = "tumour" if kind in TUMOUR else "uninterpretable" if kind in UNINTERPRETABLE else "haematopoietic"
    assert {cell.call for cell in found} == {expected}
    assert (field.ck_labels != 0).any()
    assert all(cell.ck_od > 0.05 for cell in found)


def test_compact_tumour_cells_are_small_and_stained_over_their_nucleus():
    counts = (("tumour_single", 12), ("tumour_pair", 2))
    fields = [
        render_field(plain("dab", counts=counts, compact=share), np.random.default_rng(7)) for share in (0.0, 1.0)
    ]

    def singles(field):
        return [(i + 1, c) for i, c in enumerate(field.cells) if c.kind == "tumour_single"]

    assert max(c.diameter_um for _, c in singles(fields[0])) > 20
    assert len(singles(fields[1])) == 12
    assert max(c.diameter_um for _, c in singles(fields[1])) < 20  # 15.5 but for the irregularity of a contour
    assert all(c.nucleus_area_um2 > 40 for _, c in singles(fields[1]))  # that of 7 µm
    _, ck = stain_planes(fields[1])
    labels = fields[1].nucleus_labels, fields[1].ck_labels
    over = [ck[labels[0] == n].mean() / ck[labels[1] == n].mean() for n, _ in singles(fields[1])]
    assert np.median(over) > 0.4
    pairs = [sorted(c.diameter_um for c in f.cells if c.kind == "tumour_pair") for f in fields]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize(("kind", "least_um", "most_um"), [("hc_granular", 9, 20), ("megakaryocyte_reactive", 25, 62)])
def test_reactive_marrow_cells_leave_their_nucleus_free(kind, least_um, most_um):
    field = render_field(plain("dab", (600, 600), ((kind, 8),), density_per_mm2=0), np.random.default_rng(5))
    _, ck = stain_planes(field)
    cells = [(i, c) for i, c in enumerate(field.cells, 1) if c.kind == kind]
    assert len(cells) == 8
    assert all(least_um < c.diameter_um < most_um for _, c in cells)
    if kind == "hc_granular":
        assert all(c.nucleus_area_um2 < np.pi * 5.75**2 for _, c in cells)
    over = [
        ck[field.nucleus_labels == i].mean() / ck[(field.ck_labels == i) & (field.nucleus_labels != i)].mean()
        for i, _ in cells
        if (field.nucleus_labels == i).any()
    ]
    assert np.median(over) < 0.4


def test_only_cd45_tells_a_double_positive_cell_from_a_tumour_cell():
    counts = (("double_positive", 8), ("tumour_single", 8))
    field = render_field(plain("if", (900, 900), counts, density_per_mm2=0), np.random.default_rng(5))
    ck, cd45 = (
        {
            kind: [
                field.image[..., channel][field.ck_labels == i].mean()
                for i, cell in enumerate(field.cells, 1)
                if cell.kind == kind and (field.ck_labels == i).any()
            ]
            for kind, _ in counts
        }
        for channel in (1, 2)
    )
    assert min(cd45["double_positive"]) > 1.5 * max(cd45["tumour_single"])  # the ground and bleed-through
    assert np.median(ck["double_positive"]) > 0.4 * np.median(ck["tumour_single"])
    assert {cell.call for cell in field.cells if cell.kind == "double_positive"} == {"haematopoietic"}


@pytest.mark.parametrize(("kind", "least_um"), [("double_positive", 6), ("megakaryocyte_reactive", 13)])
def test_mimics_take_up_room_among_the_cells(kind, least_um):
    spec = plain("if", density_per_mm2=4000)
    nearest = []
    for seed in range(5):
        mimic = Placed(kind, 100.0, 100.0, 1)
        cells = place_ordinary(np.random.default_rng(seed), spec, Box(0, 0, 200, 200), [mimic])
        nearest.append(min(np.hypot(c.x_um - 100, c.y_um - 100) for c in cells))
    assert min(nearest) > least_um


def test_some_tumour_cells_have_a_ruffled_contour():
    rng = np.random.default_rng(1)
    rough = np.array([draw_style(rng, 0.6, cluster=False).roughness for _ in range(400)])
    assert 0.1 < (rough > 0.13).mean() < 0.2
    assert rough.max() < 0.2


def test_mixed_textures_change_the_stain_and_nothing_else():
    counts = (("tumour_single", 12), ("tumour_cluster", 1))
    fields = [render_field(plain("dab", counts=counts, mixed=share), np.random.default_rng(7)) for share in (0.0, 1.0)]
    cells = [[c for c in field.cells if c.call == "tumour"] for field in fields]
    assert len(cells[0]) > 13
    assert [c.diameter_um for c in cells[0]] == [c.diameter_um for c in cells[1]]
    ck = [stain_planes(field)[1] for field in fields]
    for i in (i + 1 for i, c in enumerate(fields[0].cells) if c.call == "tumour"):
        inside = [plane[field.ck_labels == i] for plane, field in zip(ck, fields, strict=True)]
        assert inside[1].mean() == pytest.approx(inside[0].mean(), rel=0.35, abs=0.05)
        assert np.corrcoef(*inside)[0, 1] < 0.98


@pytest.mark.parametrize("stain", ["dab", "if"])
def test_every_artefact_is_drawn(stain):
    empty = render_field(plain(stain, (260, 260), (), density_per_mm2=0), np.random.default_rng(3)).image.astype(int)
    for kind in ARTEFACTS:
        spec = plain(stain, (260, 260), ((kind, 3),), density_per_mm2=0)
        field = render_field(spec, np.random.default_rng(3))
        found = [cell for cell in field.cells if cell.kind == kind]
        assert found
        assert {cell.call for cell in found} <= {"artefact", ""}
        if stain == "dab":
            assert np.abs(field.image - empty).max() > 12
        unseen = [number for number, cell in enumerate(field.cells, 1) if not cell.call]
        assert not np.isin(field.ck_labels, unseen).any()


@pytest.mark.parametrize("kind", sorted(ORDINARY))
def test_every_ordinary_kind_is_drawn(kind):
    spec = plain(
        "dab",
        (160, 160),
        (),
        density_per_mm2=1500,
        composition=((kind, 1.0),),
        red_cells_per_mm2=0,
        platelets_per_mm2=0,
    )
    if kind in ("red_cell", "platelet"):
        spec = replace(spec, density_per_mm2=0, red_cells_per_mm2=1500, platelets_per_mm2=1500)
    field = render_field(spec, np.random.default_rng(4))
    mine = [cell for cell in field.cells if cell.kind == kind]
    assert mine
    nucleated = kind not in ("smudge", "red_cell", "platelet")
    assert all(cell.nucleated == nucleated and not cell.call for cell in mine)
    assert (field.nucleus_labels > 0).any() == nucleated
    assert kind in COMPOSITION or kind in ("red_cell", "platelet")


def test_what_lies_across_the_border_is_labelled_minus_one():
    field = render_field(plain("dab", (200, 200), density_per_mm2=4000), np.random.default_rng(2))
    assert (field.nucleus_labels[[0, -1]] == -1).any() or (field.nucleus_labels[:, [0, -1]] == -1).any()
    assert all(-0.5 <= c.x_px < 199.5 + 12 and -0.5 <= c.y_px < 199.5 + 12 for c in field.cells)


@pytest.mark.parametrize("mpp_um", [0.1, 0.18, 0.25, 0.5, 0.8, 1.1])
def test_pixel_size_changes_the_scale_only(mpp_um):
    size = round(120 / mpp_um)
    spec = plain("dab", (size, size + 7), (), mpp_um=mpp_um, density_per_mm2=2500)
    field = render_field(spec, np.random.default_rng(8))
    assert field.image.shape == (size, size + 7, 3)
    assert field.nucleus_labels.shape == (size, size + 7)
    areas = []
    for number, cell in enumerate(field.cells, 1):
        if cell.kind != "lymphocyte":
            continue
        rows, columns = np.nonzero(field.nucleus_labels == number)
        ratio = len(rows) * mpp_um**2 / cell.nucleus_area_um2
        if ratio > 0.9:
            areas.append(ratio)
            assert np.hypot(columns.mean() - cell.x_px, rows.mean() - cell.y_px) * mpp_um < 0.8
    assert len(areas) > 3
    assert np.mean(areas) == pytest.approx(1.0, abs=0.08)


def test_canvas_pixels_stay_between_15_and_55_hundredths_of_a_micrometre():
    for mpp_um in np.linspace(0.1, 1.1, 101):
        assert 0.14 < Grid.of(float(mpp_um)).canvas_mpp_um < 0.56


def test_ordinary_fields_hold_next_to_nothing():
    rng = np.random.default_rng(1)
    counts = [sum(dict(draw_spec(rng, enriched=False).counts).get(k, 0) for k in CALLED) for _ in range(100)]
    assert np.mean(counts) < 0.2


def test_laboratories_differ():
    rng = np.random.default_rng(1)
    specs = [draw_spec(rng) for _ in range(60)]
    assert {spec.stain for spec in specs} == set(STAINS)
    assert all(0.2 <= spec.mpp_um <= 0.8 and 300 <= spec.density_per_mm2 <= 6000 for spec in specs)
    assert len({spec.staining.hematoxylin for spec in specs}) == len(specs)
    assert all(np.linalg.norm(spec.staining.chromogen) == pytest.approx(1) for spec in specs)
    assert not any(kind == "plasma_reactive" for s in specs if s.stain in ("dab", "aec") for kind, _ in s.counts)
    assert {s.stain for s in specs if "glowing" in dict(s.counts)} == {"if"}
    double = {(s.stain, s.fluorescence.cd45) for s in specs if "double_positive" in dict(s.counts)}
    assert double == {("if", True)}
    assert {s.fluorescence.cd45 for s in specs} == {True, False}


def test_fluorescence_depths_and_missing_cd45():
    for bits, dtype, largest in ((8, np.uint8, 255), (12, np.uint16, 4095), (16, np.uint16, 65535)):
        spec = plain("if", (128, 128), (), density_per_mm2=4000)
        spec = replace(
            spec, fluorescence=replace(spec.fluorescence, bits=bits, exposure=(9.0, 0.3, 0.3), cd45=bits != 8)
        )
        image = render_field(spec, np.random.default_rng(0)).image
        assert image.dtype == dtype
        assert image[..., 0].max() == largest
        assert image[..., 2].any() == (bits != 8)
