"""Small slides and results for the plugin's tests."""

from __future__ import annotations

from pathlib import Path

import dtcseg_napari
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from npe2 import PluginManager, PluginManifest

from dtcseg.cells import CALLS, Candidate, SlideScore
from dtcseg.config import SlideJob
from dtcseg.results.candidates import cells_csv
from dtcseg.results.record import Weights, make_record, to_json

MPP_UM = 0.5
MANIFEST = Path(dtcseg_napari.__file__).with_name("napari.yaml")
SIDE_PX = 1024
# Colours of the quarters: top left, top right, bottom left, bottom right.
QUARTERS = ((200, 30, 40), (40, 60, 190), (230, 230, 225), (20, 150, 60))


def quartered() -> npt.NDArray[np.uint8]:
    half = SIDE_PX // 2
    pixels = np.empty((SIDE_PX, SIDE_PX, 3), np.uint8)
    for number, colour in enumerate(QUARTERS):
        row, column = divmod(number, 2)
        pixels[row * half : (row + 1) * half, column * half : (column + 1) * half] = colour
    return pixels


def write_ome_tiff(path: Path, pixels: npt.NDArray[np.generic], metadata: dict[str, object], photometric: str) -> Path:
    """A pyramid of three levels, as scanners and converters write it: smaller levels in SubIFDs."""
    described = {"PhysicalSizeX": MPP_UM, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": MPP_UM, "PhysicalSizeYUnit": "µm"}
    step = (slice(None), slice(None, None, 2), slice(None, None, 2)) if metadata["axes"] == "CYX" else np.s_[::2, ::2]
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(pixels, subifds=2, tile=(256, 256), photometric=photometric, metadata={**metadata, **described})
        for _ in range(2):
            pixels = pixels[step]
            writer.write(pixels, subfiletype=1, tile=(256, 256), photometric=photometric)
    return path


@pytest.fixture
def preferences(plugin_settings: None, npe2pm: PluginManager) -> None:
    """Preferences of this test alone, with dtcseg as the only plugin."""
    npe2pm.register(PluginManifest.from_file(MANIFEST))


@pytest.fixture
def brightfield(tmp_path: Path) -> Path:
    return write_ome_tiff(tmp_path / "bright.ome.tif", quartered(), {"axes": "YXS"}, "rgb")


@pytest.fixture
def fluorescence(tmp_path: Path) -> Path:
    planes = np.zeros((3, SIDE_PX, SIDE_PX), np.uint16)
    planes[0, 100:400, 100:400] = 4000
    planes[1, 600:900, 600:900] = 30000
    planes[2, 100:400, 600:900] = 9000
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "pan-CK", "CD45"]}}
    return write_ome_tiff(tmp_path / "fluorescent.ome.tif", planes, names, "minisblack")


def candidate(x_px: float, y_px: float, number: int) -> Candidate:
    return Candidate(
        x_px=x_px,
        y_px=y_px,
        score=0.9 - 0.2 * number,
        call=CALLS[number],
        outline_px=np.array([(0, 0), (1, 0), (1, 1), (0, 0)], float) * 20 + (x_px, y_px),
        diameter_um=15.0,
        area_um2=170.0,
        nucleus_area_um2=80.0,
        ck_od=0.4,
        ck_over_nucleus=0.1,
        neighbours=3,
        cluster_id=0,
    )


def write_results(results: Path, slide: Path, candidates: tuple[Candidate, ...]) -> Path:
    """The results folder of one slide, by the hand that writes real ones; returns the slide's folder."""
    name = slide.name.split(".")[0]
    score = SlideScore(
        stain="new_fuchsin",
        stain_source="assumed",
        mpp_um=MPP_UM,
        mpp_source="vendor",
        width_px=SIDE_PX,
        height_px=SIDE_PX,
        area_mm2=0.26,
        mnc=100,
        mnc_low=90.0,
        mnc_high=110.0,
        candidates=candidates,
        nuclei_px=np.zeros((100, 2), np.float32),
        excluded_mm2={},
        qc=(),
        details={},
    )
    job = SlideJob(name=name, files=(slide,))
    record = make_record(job, score, key="key", weights=Weights("test", "0" * 64), program="0", seconds=1.0)
    folder = results / name
    folder.mkdir(parents=True)
    (results / "run.json").write_text("{}")
    (folder / "cells.csv").write_bytes(cells_csv(name, candidates, MPP_UM))
    (folder / "slide.json").write_bytes(to_json(record))
    return folder
