"""Truth beside a slide: what was put on it, and where."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from dtcseg_training.simulate.field import TruthCell

COLUMNS = (
    "x_px",
    "y_px",
    "kind",
    "call",
    "nucleated",
    "diameter_um",
    "nucleus_area_um2",
    "ck_od",
    "texture",
    "cluster",
    "nucleus_x_px",
    "nucleus_y_px",
    "outline",
)


@dataclass(frozen=True)
class Truth:
    """Everything true about one slide.

    Attributes
    ----------
    cells : tuple of TruthCell
        What the cytokeratin stain (or its colour) shows, by falling y, then x: level-0 pixels.
    nuclei_px : (N, 2) float32
        Every nucleus a person would count, tumour nuclei among them; (x, y) level-0 pixels, sorted by y then x.
    """

    cells: tuple[TruthCell, ...]
    nuclei_px: npt.NDArray[np.float32]


def truth_paths(path: Path) -> tuple[Path, Path]:
    """Name the two files of truth beside a slide file."""
    name = path.name
    for ending in (".ome.tif", ".ome.tiff", ".tiff", ".tif"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
            break
    return path.with_name(f"{name}.truth.csv"), path.with_name(f"{name}.truth_nuclei.parquet")


def sorted_truth(cells: Iterable[TruthCell], nuclei: npt.NDArray[np.float64]) -> Truth:
    """Put objects and nuclei in the order in which they are written."""
    ordered = sorted(cells, key=lambda cell: (cell.y_px, cell.x_px))
    places = nuclei.astype(np.float32).reshape(-1, 2)
    return Truth(tuple(ordered), places[np.lexsort((places[:, 0], places[:, 1]))])


def write_truth(path: Path, truth: Truth) -> None:
    """Write the truth beside a slide file: `<name>.truth.csv` and `<name>.truth_nuclei.parquet`."""
    table, nuclei = truth_paths(path)
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for cell in truth.cells:
            writer.writerow(_row(cell))
    columns = {"x_px": truth.nuclei_px[:, 0], "y_px": truth.nuclei_px[:, 1]}
    parquet.write_table(pa.table(columns), nuclei, compression="zstd")


def _row(cell: TruthCell) -> list[str | int]:
    ring = ", ".join(f"{x:.1f} {y:.1f}" for x, y in cell.outline)
    return [
        f"{cell.x_px:.2f}",
        f"{cell.y_px:.2f}",
        cell.kind,
        cell.call,
        int(cell.nucleated),
        f"{cell.diameter_um:.2f}",
        f"{cell.nucleus_area_um2:.1f}",
        f"{cell.ck_od:.4f}",
        cell.texture,
        cell.cluster,
        "" if np.isnan(cell.nucleus_x_px) else f"{cell.nucleus_x_px:.2f}",
        "" if np.isnan(cell.nucleus_y_px) else f"{cell.nucleus_y_px:.2f}",
        f"POLYGON (({ring}))" if ring else "",
    ]


def read_truth(path: Path) -> Truth:
    """Read the truth that lies beside a slide file.

    Parameters
    ----------
    path : Path
        The slide (it need not exist), not the truth.
    """
    table, nuclei = truth_paths(Path(path))
    with table.open(newline="", encoding="utf-8") as file:
        cells = tuple(_cell(row) for row in csv.DictReader(file))
    columns = parquet.read_table(nuclei)
    return Truth(cells, np.stack([columns["x_px"].to_numpy(), columns["y_px"].to_numpy()], axis=1).astype(np.float32))


def _cell(row: dict[str, str]) -> TruthCell:
    ring = row["outline"].removeprefix("POLYGON ((").removesuffix("))")
    points = [pair.split() for pair in ring.split(", ")] if ring else []
    return TruthCell(
        x_px=float(row["x_px"]),
        y_px=float(row["y_px"]),
        kind=row["kind"],
        call=row["call"],
        nucleated=row["nucleated"] == "1",
        diameter_um=float(row["diameter_um"]),
        nucleus_area_um2=float(row["nucleus_area_um2"]),
        ck_od=float(row["ck_od"]),
        outline=np.array(points, np.float32).reshape(-1, 2),
        texture=row["texture"],
        cluster=int(row["cluster"]),
        nucleus_x_px=float(row["nucleus_x_px"] or "nan"),
        nucleus_y_px=float(row["nucleus_y_px"] or "nan"),
    )
