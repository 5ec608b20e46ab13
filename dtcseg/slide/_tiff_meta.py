"""What the flavours of TIFF say about pixel size, channels and which of their images is the scan."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from dtcseg.slide._common import LARGEST_MPP_UM, FoundResolution

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of the units that OME allows, those a pixel size is written in; "pixel" and "reference frame" say nothing.
_UM_PER_UNIT = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0, "nm": 1e-3, "pm": 1e-6,
    "å": 1e-4, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25_400.0, "inch": 25_400.0, "pt": 25_400.0 / 72,
}  # fmt: skip
_CENTIMETRE, _INCH = 3, 2
_NOT_A_SCAN = re.compile(r"label|macro|thumb|overview|preview|\bmap\b", re.IGNORECASE)


def parse_xml(text: str) -> ElementTree.Element | None:
    """Parse a scanner's XML, None where it is not well formed.

    Entities are refused unread: no scanner writes them, and nested ones fill the memory.
    """
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        return None
    try:
        return ElementTree.fromstring(text.strip().strip("\0"))  # noqa: S314 - entities are refused above
    except (ElementTree.ParseError, ValueError):
        return None


def local_name(element: ElementTree.Element) -> str:
    """Tag without its name space."""
    return element.tag.rpartition("}")[2]


def walk(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """All elements of that local name, in document order."""
    return (element for element in root.iter() if local_name(element) == name)


def to_float(text: str | None) -> float:
    """Return a number, NaN where the text is none."""
    try:
        return float((text or "").strip().strip('"'))
    except ValueError:
        return math.nan


def is_scan_name(name: str) -> bool:
    """Whether an image of that name may be the scan; labels and overviews can show a patient's name."""
    return _NOT_A_SCAN.search(name) is None


def tag_resolution(page: Any) -> FoundResolution | None:
    """Pixel size in the TIFF resolution tags; None for no unit, and for 1 per unit, which means "never set"."""
    try:
        x_num, x_den = page.tags.valueof(282)
        y_num, y_den = page.tags.valueof(283)
        unit = int(page.tags.valueof(296, _INCH))
        x_per_unit, y_per_unit = x_num / x_den, y_num / y_den
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    um = {_CENTIMETRE: 1e4, _INCH: 25_400.0}.get(unit)
    unset = x_per_unit in (0.0, 1.0) or y_per_unit in (0.0, 1.0)
    if um is None or unset:
        return None
    return FoundResolution(um / x_per_unit, um / y_per_unit, "tiff_tags")


def imagej_resolution(tif: Any, page: Any) -> FoundResolution | None:
    """Pixel size as ImageJ writes it: the unit in its own text, pixels a unit in the TIFF tags."""
    unit = str((tif.imagej_metadata or {}).get("unit", "")).casefold()
    um = _UM_PER_UNIT.get(unit)
    if um is None:
        return None
    try:
        x_num, x_den = page.tags.valueof(282)
        y_num, y_den = page.tags.valueof(283)
        return FoundResolution(um * x_den / x_num, um * y_den / y_num, "tiff_tags")
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def aperio_resolution(page: Any) -> FoundResolution | None:
    """`MPP = 0.25` in the description of the first page."""
    found = re.search(r"(?:^|\|)\s*MPP\s*=\s*([^|\r\n]*)", page.description)
    if found is None:
        return None
    mpp = to_float(found[1])
    return FoundResolution(mpp, mpp, "vendor")


def philips_resolution(tif: Any) -> FoundResolution | None:
    """`DICOM_PIXEL_SPACING` of the finest representation, in mm, row then column."""
    root = parse_xml(tif.philips_metadata or "")
    if root is None:
        return None
    found = []
    for element in root.iter("Attribute"):
        if element.get("Name") == "DICOM_PIXEL_SPACING" and element.text:
            parts = [to_float(part) for part in element.text.split()]
            if len(parts) == 2:
                found.append(FoundResolution(parts[1] * 1e3, parts[0] * 1e3, "vendor"))
    return min(found, key=lambda item: item.mpp_x_um, default=None)


def ventana_text(tif: Any) -> str:
    """All XML of a Ventana file: scan settings are on one page, tile joints on another."""
    parts = []
    for page in tif.pages:
        packet = page.tags.valueof(700)
        if isinstance(packet, bytes):
            parts.append(packet.decode("utf-8", "replace"))
        elif packet is not None:
            parts.append(str(packet))
    return "\n".join(parts)


def ventana_resolution(text: str) -> FoundResolution | None:
    """`ScanRes="0.25"` of the iScan element, µm."""
    found = re.search(r'\bScanRes\s*=\s*"([^"]*)"', text)
    if found is None:
        return None
    mpp = to_float(found[1])
    return FoundResolution(mpp, mpp, "vendor")


def ventana_overlaps(text: str) -> bool:
    """Whether neighbouring tiles overlap, so that they have to be joined."""
    return any(to_float(value) > 0 for value in re.findall(r'\bOverlap[XY]\s*=\s*"([^"]*)"', text))


def ventana_layers(text: str) -> int:
    """Return the number of focal planes."""
    found = re.search(r'\bZ-layers\s*=\s*"(\d+)"', text)
    return int(found[1]) if found else 1


class LeicaImage:
    """One image of an SCN file: its page numbers at level 0, pixel size, channels, and whether it is the overview."""

    def __init__(self, image: ElementTree.Element, collection: ElementTree.Element) -> None:
        view = next(walk(image, "view"), None)
        pixels = next(walk(image, "pixels"), None)
        sizes = view.attrib if view is not None else {}
        width_nm, height_nm = to_float(sizes.get("sizeX")), to_float(sizes.get("sizeY"))
        attributes = pixels.attrib if pixels is not None else {}
        width, height = to_float(attributes.get("sizeX")), to_float(attributes.get("sizeY"))
        self.mpp_x_um = width_nm / width / 1e3 if width else math.nan
        self.mpp_y_um = height_nm / height / 1e3 if height else math.nan
        self.channels = tuple(
            channel.get("name", "") for settings in walk(image, "channelSettings") for channel in settings
        )
        self.pages = {int(dimension.get("ifd", -1)) for dimension in walk(image, "dimension")}
        covers_all = (width_nm, height_nm) == (to_float(collection.get("sizeX")), to_float(collection.get("sizeY")))
        # The overview is the photograph of the whole glass, label included.
        self.is_overview = self.mpp_x_um > 2 * LARGEST_MPP_UM or (
            covers_all and to_float(sizes.get("offsetX")) == 0 and to_float(sizes.get("offsetY")) == 0
        )


def leica_images(page: Any) -> list[LeicaImage]:
    """List the images of an SCN file in document order, as its XML lists them."""
    root = parse_xml(page.description)
    if root is None:
        return []
    return [
        LeicaImage(image, collection) for collection in walk(root, "collection") for image in walk(collection, "image")
    ]


class OmeImage:
    """One image of an OME-XML: name, pixel size, channel names."""

    def __init__(self, image: ElementTree.Element) -> None:
        self.name = image.get("Name", "")
        pixels = next(walk(image, "Pixels"), None)
        self.resolution = _ome_resolution(pixels) if pixels is not None else None
        self.channels: tuple[str, ...] = ()
        if pixels is not None:
            self.channels = tuple(
                channel.get("Name") or channel.get("Fluor") or "" for channel in walk(pixels, "Channel")
            )


def ome_images(text: str | None) -> list[OmeImage]:
    """List the images of an OME-XML, in its order."""
    root = parse_xml(text or "")
    if root is None:
        return []
    return [OmeImage(image) for image in root if local_name(image) == "Image"]


def um_per(unit: str) -> float | None:
    """µm in one unit of length, None for a unit that is no length."""
    return _UM_PER_UNIT.get(unit.strip().casefold())


def _ome_resolution(pixels: ElementTree.Element) -> FoundResolution | None:
    x_text, y_text = pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeY")
    if x_text is None and y_text is None:
        return None
    x_um = um_per(pixels.get("PhysicalSizeXUnit", "µm"))
    y_um = um_per(pixels.get("PhysicalSizeYUnit", "µm"))
    if x_um is None or y_um is None:
        return None
    return FoundResolution(to_float(x_text or y_text) * x_um, to_float(y_text or x_text) * y_um, "vendor")


def qpi_channel(page: Any) -> str:
    """Channel name of one page of a PerkinElmer (Akoya) QPI file."""
    root = parse_xml(page.description)
    if root is None:
        return ""
    for name in ("Biomarker", "Name"):
        for element in walk(root, name):
            if element.text and element.text.strip():
                return element.text.strip()
    return ""
