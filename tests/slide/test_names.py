"""Channel names as laboratories and scanners write them."""

from __future__ import annotations

import pytest

from dtcseg.errors import UnsuitableSlide
from dtcseg.slide import match_channels


@pytest.mark.parametrize(
    "name", ["DAPI", "dapi", "Hoechst 33342", "HOECHST_33258", "Hoechst", "DAPI-405", "nuclei", "DNA", "DRAQ5"]
)
def test_nuclear(name: str) -> None:
    assert match_channels(["CK", name]) == {"nuclear": 1, "cytokeratin": 0}


@pytest.mark.parametrize(
    "name",
    [
        "CK", "ck", "pan-CK", "panCK", "PanCK", "Pan CK", "pan_cytokeratin", "Cytokeratin", "AE1", "AE1/AE3",
        "AE1-AE3", "AE1AE3", "A45-B/B3", "CK8/18", "CK8/18/19", "CK19", "KRT8", "Keratin 8", "FITC (CK)",
        "CK-AF488", "PanCK_Opal520", "CAM5.2", "CK19Alexa488", "anti-CK",
    ],
)  # fmt: skip
def test_cytokeratin(name: str) -> None:
    assert match_channels(["DAPI", name]) == {"nuclear": 0, "cytokeratin": 1}


@pytest.mark.parametrize("name", ["CD45", "cd-45", "CD45 (APC)", "PTPRC", "LCA", "Leukocyte", "CD45RO", "Cy5-CD45"])
def test_leukocyte(name: str) -> None:
    assert match_channels(["DAPI", "CK", name])["leukocyte"] == 2


@pytest.mark.parametrize(
    "name", ["back", "Background", "FITC", "GFP", "TRITC", "channel 1", "quick", "LCAM", "CD450", "Kit", ""]
)
def test_no_false_match(name: str) -> None:
    assert match_channels(["DAPI", "CK", name]) == {"nuclear": 0, "cytokeratin": 1}
    with pytest.raises(UnsuitableSlide, match="no cytokeratin"):
        match_channels(["DAPI", name])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], r"no nuclear \(DAPI, Hoechst\) channel among its channels \(none\)"),
        (["FITC", "CK"], "no nuclear"),
        (["DAPI", "CK8", "CK19"], "cytokeratin .* channel is ambiguous: 'CK8' and 'CK19'"),
        (["DAPI", "Hoechst", "CK"], "ambiguous"),
        (["DAPI CK", "CD45"], "fits several stains"),
        (["DAPI", "FITC"], "'DAPI', 'FITC'.*channel column of slides.csv"),
    ],
)
def test_ambiguous_or_missing(names: list[str], words: str) -> None:
    with pytest.raises(UnsuitableSlide, match=words):
        match_channels(names)
