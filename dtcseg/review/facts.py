"""What a reader is told of a cell, in words and units; a blind reader is told nothing that the program thinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtcseg.review.slides import Item

CRITERIA = {
    "tumour": "CK+ cell with a clearly enlarged nucleus, or a cluster of two and more CK+ cells",
    "probable": "strong irregular stain over the nucleus, no sign of a blood cell; counts if the control is clean",
    "uninterpretable": "CK+ but destroyed or degenerate",
    "haematopoietic": "small nucleus, even or fine-bubbled stain that leaves the nucleus free",
    "artefact": "squame, precipitate, dirt: no nucleated cell of the sample",
}
"""After ISHAGE (Borgen 1999) and Naume 2004, in short, for the screen."""


@dataclass(frozen=True)
class Fact:
    """One line of evidence: its name, its value with the unit, and what it means."""

    label: str
    value: str
    hint: str = ""


def facts(item: Item, *, calls: bool) -> list[Fact]:
    """Say what was measured on a cell.

    Parameters
    ----------
    item : Item
    calls : bool
        Whether score and call may be told too.
    """
    said = []
    if calls and item.cell.call:
        said.append(Fact("Program", f"{item.cell.call}, score {item.cell.score:.2f}", "probability of a tumour cell"))
    values = item.measured
    if "diameter_um" in values:
        said.append(Fact("Cell", f"{values['diameter_um']:.1f} µm across", "circle of the same area"))
    if values.get("nucleus_area_um2"):
        ratio = values.get("nucleus_ratio", 0.0)
        against = f", {ratio:.1f} times those around" if ratio else ""
        said.append(Fact("Nucleus", f"{values['nucleus_area_um2']:.0f} µm²{against}", "enlarged: well above 1"))
    elif "nucleus_area_um2" in values:
        said.append(Fact("Nucleus", "none seen"))
    if "ck_od" in values:
        said.append(Fact("Stain", f"{values['ck_od']:.2f}", "mean cytokeratin, above this slide's ordinary cells"))
    if "ck_over_nucleus" in values:
        said.append(Fact("Over nucleus", f"{100 * values['ck_over_nucleus']:.0f} %", "of the nucleus covered by stain"))
    if values.get("cd45_ring"):
        said.append(Fact("CD45 ring", f"{values['cd45_ring']:.1f}", "all round the cell; 1: a bright leukocyte's"))
    if "neighbours" in values:
        said.append(Fact("Around it", f"{values['neighbours']:.0f} cells", "within 50 µm"))
    if values.get("cluster_id"):
        said.append(Fact("Cluster", "touches other CK+ cells"))
    return said
