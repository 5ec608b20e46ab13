"""Small slides of every format, each written by the library that defines the format where it can write.

SCN, BIF, Philips, SVS and MIRAX have no writing library: their structure is rebuilt here from their public
descriptions, so these files prove the reader against the description, not against a scanner.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from dtcseg.slide._common import FileSlide, Settings

WIDTH, HEIGHT = 333, 250
MPP = 0.25
PER_CM = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}


@dataclass(frozen=True)
class Made:
    """A slide on disk and what must be read from it; `tolerance` is for lossy codecs."""

    path: Path | list[Path]
    levels: list[np.ndarray]
    mpp_um: float | None = MPP
    mpp_source: str = "tiff_tags"
    kind: str = "brightfield"
    channels: tuple[str, ...] = ("R", "G", "B")
    tolerance: int = 0


def picture(width: int = WIDTH, height: int = HEIGHT, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """A smooth picture in which every place looks different, so that a shifted tile shows."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        np.sin(x / (17 + 5 * c)) + np.cos(y / (13 + 3 * c)) + (x + 2 * y) / (width + 2 * height)
        for c in range(channels)
    ]
    stack = np.stack(planes, axis=-1)
    stack = (stack - stack.min()) / (stack.max() - stack.min())
    return (stack * (250 if dtype is np.uint8 else 60_000)).astype(dtype)


def halved(image: np.ndarray) -> np.ndarray:
    """The next level as scanners make it: means of 2 x 2, an odd last row or column left out."""
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    blocks = image[:height, :width].astype(np.float64)
    small = (blocks[0::2, 0::2] + blocks[1::2, 0::2] + blocks[0::2, 1::2] + blocks[1::2, 1::2]) / 4
    return small.astype(image.dtype)


def pyramid(image: np.ndarray, n_levels: int = 3) -> list[np.ndarray]:
    levels = [image]
    while len(levels) < n_levels:
        levels.append(halved(levels[-1]))
    return levels


def decoded(path: Path, n_levels: int) -> list[np.ndarray]:
    """What the library reads from whole pages of a lossy file: at its padded edges it is far from what was written."""
    return [tifffile.imread(path, series=0, level=level) for level in range(n_levels)]


def ome_rgb(folder: Path) -> Made:
    path, levels = folder / "rgb.ome.tif", pyramid(picture())
    with tifffile.TiffWriter(path, ome=True) as tif:
        metadata = {"PhysicalSizeX": MPP, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": MPP, "PhysicalSizeYUnit": "µm"}
        common = {"tile": (64, 64), "compression": "adobe_deflate", "photometric": "rgb"}
        tif.write(levels[0], subifds=2, metadata={"axes": "YXS", **metadata}, **common)
        for level in levels[1:]:
            tif.write(level, subfiletype=1, **common)
        tif.write(picture(90, 60), photometric="rgb", metadata={"Name": "label image"})
    return Made(path, levels, mpp_source="vendor")


def ome_fluorescence(folder: Path, dtype: type = np.uint16, name: str = "if16.ome.tif") -> Made:
    path, levels = folder / name, pyramid(picture(channels=3, dtype=dtype), 2)
    names = ("DAPI", "AE1/AE3-AF488", "CD45")
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as tif:
        metadata = {
            "axes": "CYX", "PhysicalSizeX": MPP * 1e3, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": MPP * 1e3,
            "PhysicalSizeYUnit": "nm", "Channel": {"Name": list(names)},
        }  # fmt: skip
        common = {"tile": (64, 64), "compression": "zstd", "photometric": "minisblack"}
        tif.write(np.moveaxis(levels[0], -1, 0), subifds=1, metadata=metadata, **common)
        tif.write(np.moveaxis(levels[1], -1, 0), subfiletype=1, **common)
    return Made(path, levels, mpp_source="vendor", kind="fluorescence", channels=names)


def ome_fluorescence_8bit(folder: Path) -> Made:
    return ome_fluorescence(folder, np.uint8, "if8.ome.tif")


def ome_uncompressed(folder: Path) -> Made:
    """One strip a page, big-endian, pages stored behind the first: as `tifffile.imwrite` does by default."""
    path, image = folder / "raw.ome.tif", picture(channels=2, dtype=np.uint16)
    metadata = {"axes": "CYX", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP, "Channel": {"Name": ["Hoechst", "CK"]}}
    tifffile.imwrite(path, np.moveaxis(image, -1, 0), byteorder=">", ome=True, metadata=metadata)
    return Made(path, [image], mpp_source="vendor", kind="fluorescence", channels=("Hoechst", "CK"))


def svs(folder: Path) -> Made:
    """Baseline, thumbnail, one level, label and macro, in the order in which Aperio writes them."""
    path, levels = folder / "aperio.svs", pyramid(picture(), 2)
    common = {"compression": "jpeg", "compressionargs": {"level": 95}, "photometric": "rgb", "metadata": None}
    text = f"Aperio Image Library v12\r\n{WIDTH}x{HEIGHT} (64x64) JPEG/RGB Q=95|AppMag = 40|MPP = {MPP}"
    with tifffile.TiffWriter(path) as tif:
        tif.write(levels[0], tile=(64, 64), description=text, **common)
        tif.write(picture(100, 75), rowsperstrip=16, description="Aperio thumbnail", **common)
        tif.write(levels[1], tile=(64, 64), description="Aperio level", **common)
        tif.write(picture(40, 40), subfiletype=1, compression="lzw", photometric="rgb", metadata=None)
        tif.write(picture(120, 40), subfiletype=9, rowsperstrip=16, **common)
    return Made(path, decoded(path, 2), mpp_source="vendor")


def scn(folder: Path) -> Made:
    path, levels = folder / "leica.scn", pyramid(picture(), 2)
    nm_x, nm_y = int(WIDTH * MPP * 1e3), int(HEIGHT * MPP * 1e3)

    def dimension(r: int, ifd: int, image: np.ndarray) -> str:
        return f'<dimension sizeX="{image.shape[1]}" sizeY="{image.shape[0]}" r="{r}" ifd="{ifd}"/>'

    overview = picture(80, 60)
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="slide" sizeX="{nm_x * 3}" sizeY="{nm_y * 3}"><image name="overview">'
        f'<pixels sizeX="80" sizeY="60">{dimension(0, 0, overview)}</pixels>'
        f'<view sizeX="{nm_x * 3}" sizeY="{nm_y * 3}" offsetX="0" offsetY="0"/></image>'
        f'<image name="scan"><pixels sizeX="{WIDTH}" sizeY="{HEIGHT}">{dimension(0, 1, levels[0])}'
        f"{dimension(1, 2, levels[1])}</pixels>"
        f'<view sizeX="{nm_x}" sizeY="{nm_y}" offsetX="1000" offsetY="1000"/></image></collection></scn>'
    )
    common = {"tile": (64, 64), "compression": "lzw", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(overview, description=text, **common)
        for level in levels:
            tif.write(level, **common)
    return Made(path, levels, mpp_source="vendor")


def bif(folder: Path, overlap: int = 0) -> Made:
    path, levels = folder / "ventana.bif", pyramid(picture(), 2)
    text = (
        f'<?xml version="1.0"?><Metadata><iScan ScanRes="{MPP}" Z-layers="1"/><EncodeInfo><SlideStitchInfo><ImageInfo>'
        f'<TileJointInfo OverlapX="{overlap}" OverlapY="0"/></ImageInfo></SlideStitchInfo></EncodeInfo></Metadata>'
    )
    packet = (700, "B", len(text), text.encode(), True)
    common = {"compression": "lzw", "photometric": "rgb", "metadata": None, "software": "ScanOutputManager 1.1"}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(picture(60, 90), description="Label Image", extratags=[packet], **common)
        tif.write(picture(50, 50), description="Thumbnail", **common)
        for number, level in enumerate(levels):
            tif.write(level, tile=(64, 64), description=f"level={number} mag={40 >> number} quality=95", **common)
    return Made(path, levels, mpp_source="vendor")


def philips(folder: Path) -> Made:
    """Levels are padded to whole tiles in this format; the true size follows from the pixel spacing."""
    path, levels = folder / "philips.tiff", pyramid(picture(), 2)

    def spacing(mm: float) -> str:
        return (
            '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028">'
            f'"{mm}" "{mm}"</Attribute></DataObject>'
        )

    inner = spacing(MPP / 1e3) + spacing(2 * MPP / 1e3)
    text = f'<DataObject ObjectType="DPUfsImport"><Attribute Name="X">{inner}</Attribute></DataObject>'
    padded = np.pad(levels[1], ((0, -levels[1].shape[0] % 64), (0, -levels[1].shape[1] % 64), (0, 0)))
    common = {"compression": "lzw", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as tif:
        tif.write(levels[0], tile=(64, 64), description=text, software="Philips DP v1.0", **common)
        tif.write(padded, tile=(64, 64), subfiletype=1, **common)
        tif.write(picture(120, 50), description="Macro", **common)
        tif.write(picture(50, 50), description="Label", **common)
    return Made(path, levels, mpp_source="vendor")


def tiled(folder: Path) -> Made:
    """Plain tiles, levels as reduced pages, and a reduced page of other proportions that is no level."""
    path, levels = folder / "tiled.tif", pyramid(picture())
    with tifffile.TiffWriter(path) as tif:
        for number, level in enumerate(levels):
            tif.write(level, tile=(128, 64), compression="lzw", predictor=True, subfiletype=int(number > 0), **PER_CM)
        tif.write(picture(60, 120), tile=(64, 64), subfiletype=1)
    return Made(path, levels)


def striped(folder: Path) -> Made:
    path, image = folder / "striped.tif", picture()
    tifffile.imwrite(path, image, rowsperstrip=7, compression="adobe_deflate", photometric="rgb", **PER_CM)
    return Made(path, [image])


def striped_raw(folder: Path) -> Made:
    path, image = folder / "raw.tif", picture()
    tifffile.imwrite(path, image, rowsperstrip=11, photometric="rgb", bigtiff=True, metadata=None, **PER_CM)
    return Made(path, [image])


def planar(folder: Path) -> Made:
    """Red, green and blue as planes of one page."""
    path, image = folder / "planar.tif", picture()
    tifffile.imwrite(
        path,
        np.moveaxis(image, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        tile=(64, 64),
        compression="lzw",
        **PER_CM,
    )
    return Made(path, [image])


def planar_raw(folder: Path) -> Made:
    path, image = folder / "planar_raw.tif", picture()
    tifffile.imwrite(
        path,
        np.moveaxis(image, -1, 0),
        photometric="rgb",
        planarconfig="separate",
        rowsperstrip=32,
        metadata=None,
        **PER_CM,
    )
    return Made(path, [image])


def rgba(folder: Path) -> Made:
    path, image = folder / "rgba.tif", picture(channels=4)
    tifffile.imwrite(path, image, photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64), **PER_CM)
    return Made(path, [image[..., :3]])


def imagej(folder: Path) -> Made:
    path, image = folder / "imagej.tif", picture(channels=2, dtype=np.uint16)
    tifffile.imwrite(
        path, np.moveaxis(image, -1, 0), imagej=True, resolution=(1 / MPP, 1 / MPP),
        metadata={"axes": "CYX", "unit": "um", "Labels": ["Hoechst 33342", "pan-CK"]},
    )  # fmt: skip
    return Made(path, [image], kind="fluorescence", channels=("Hoechst 33342", "pan-CK"))


def jpeg_tiles(folder: Path) -> Made:
    path, levels = folder / "jpeg.tif", pyramid(picture())
    with tifffile.TiffWriter(path) as tif:
        for number, level in enumerate(levels):
            common = {"compression": "jpeg", "compressionargs": {"level": 95}, "photometric": "rgb"}
            tif.write(level, tile=(64, 64), subfiletype=int(number > 0), **common, **PER_CM)
    return Made(path, decoded(path, 3))


def jpeg2000_tiles(folder: Path) -> Made:
    path, image = folder / "j2k.tif", picture()
    tifffile.imwrite(path, image, tile=(64, 64), compression="jpeg2000", photometric="rgb", **PER_CM)
    return Made(path, [image])


def png(folder: Path) -> Made:
    path, image = folder / "field.png", picture()
    Image.fromarray(image).save(path)
    return Made(path, [image], mpp_um=None)


def jpeg(folder: Path) -> Made:
    path, image = folder / "field.jpg", picture()
    Image.fromarray(image).save(path, quality=95)
    return Made(path, [image], mpp_um=None, tolerance=12)


def _ome_zarr(folder: Path, version: str) -> Made:
    import zarr

    with warnings.catch_warnings():
        # The library's own module makes an object of a class that it has deprecated.
        warnings.filterwarnings("ignore", "Call to deprecated class Scaler", DeprecationWarning)
        from ome_zarr.format import FormatV04, FormatV05
        from ome_zarr.writer import write_image

    path, image = folder / f"image{version}.ome.zarr", picture(channels=3, dtype=np.uint16)
    names = ("dapi", "cytokeratin", "CD45")
    kind = FormatV04() if version == "0.4" else FormatV05()
    group = zarr.open_group(str(path), mode="w", zarr_format=kind.zarr_format)
    write_image(
        np.moveaxis(image, -1, 0), group, fmt=kind, axes="cyx", scale={"c": 1.0, "y": MPP, "x": MPP},
        axes_units={"y": "micrometer", "x": "micrometer"}, scale_factors=(2,), storage_options={"chunks": (1, 64, 64)},
    )  # fmt: skip
    omero = {"channels": [{"label": name, "color": "FFFFFF"} for name in names]}
    if version == "0.4":
        group.attrs["omero"] = omero
    else:
        group.attrs["ome"] = {**group.attrs["ome"], "omero": omero}
    small = np.moveaxis(np.asarray(group[sorted(group.array_keys())[1]]), 0, -1)
    return Made(path, [image, small], mpp_source="vendor", kind="fluorescence", channels=names)


def zarr_04(folder: Path) -> Made:
    return _ome_zarr(folder, "0.4")


def zarr_05(folder: Path) -> Made:
    return _ome_zarr(folder, "0.5")


def czi(folder: Path) -> Made:
    """Two channels in two scenes beside each other, the first not at the origin."""
    from pylibCZIrw import czi as library

    path, image = folder / "zeiss.czi", picture(channels=2, dtype=np.uint16)
    names = ("DAPI", "Cytokeratin")
    with library.create_czi(str(path)) as out:
        for channel in range(2):
            plane = {"C": channel, "T": 0, "Z": 0}
            out.write(image[:, :200, channel, None].copy(), location=(-50, 20), plane=plane, scene=0)
            out.write(image[:, 200:, channel, None].copy(), location=(150, 20), plane=plane, scene=1)
        out.write_metadata("slide", channel_names=dict(enumerate(names)), scale_x=MPP / 1e6, scale_y=MPP / 1e6)
    return Made(path, [image], mpp_source="vendor", kind="fluorescence", channels=names)


def czi_rgb(folder: Path) -> Made:
    from pylibCZIrw import czi as library

    path, image = folder / "zeiss_rgb.czi", picture()
    with library.create_czi(str(path), compression_options="zstd1:ExplicitLevel=2") as out:
        out.write(np.ascontiguousarray(image[..., ::-1]), plane={"C": 0, "T": 0, "Z": 0})
        out.write_metadata("slide", scale_x=MPP / 1e6, scale_y=MPP / 1e6)
    return Made(path, [image], mpp_source="vendor")


def channel_files(folder: Path) -> Made:
    """A grey TIFF and an RGB rendering of the second dye, as some scanners write it."""
    image = picture(channels=2)
    first, second = folder / "s-DAPI.tif", folder / "s-CK.png"
    tifffile.imwrite(first, image[..., 0], tile=(64, 64), **PER_CM)
    green = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    green[..., 1] = image[..., 1]
    Image.fromarray(green).save(second)
    return Made([first, second], [image], kind="fluorescence", channels=("s-DAPI", "s-CK"))


def mirax(folder: Path, tile: int = 64) -> Made:
    """The smallest MIRAX there can be: one JPEG a tile, two levels, no positions file."""
    across, down = 6, 4
    levels = pyramid(picture(across * tile, down * tile), 2)
    path = folder / "mirax.mrxs"
    data = folder / "mirax"
    data.mkdir()
    Image.new("RGB", (8, 8), "red").save(path, format="JPEG")  # the index file is a photograph of the label
    blob, records = bytearray(b"\0" * 64), []
    for number, level in enumerate(levels):
        entries = []
        for row in range(level.shape[0] // tile):
            for column in range(level.shape[1] // tile):
                part = BytesIO()
                pixels = level[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
                Image.fromarray(pixels).save(part, format="JPEG", quality=95)
                index = (row << number) * across + (column << number)
                entries.append((index, len(blob), len(part.getvalue()), 0))
                blob += part.getvalue()
        records.append(entries)
    (data / "Data0000.dat").write_bytes(blob)
    (data / "Index.dat").write_bytes(_mirax_index(records))
    (data / "Slidedat.ini").write_text(_mirax_ini(across, down, tile), encoding="utf-8")
    return Made(path, levels, mpp_source="vendor", tolerance=12)


def _mirax_index(records: list[list[tuple[int, int, int, int]]]) -> bytes:
    identity = b"SLIDE0001"
    start = 5 + len(identity)
    index = bytearray(b"01.02" + identity + struct.pack("<ii", start + 8, 0))
    index += b"\0" * (4 * len(records))
    for number, entries in enumerate(records):
        struct.pack_into("<i", index, start + 8 + 4 * number, len(index))
        index += struct.pack("<ii", 0, len(index) + 8)
        index += struct.pack("<ii", len(entries), 0)
        for entry in entries:
            index += struct.pack("<iiii", *entry)
    struct.pack_into("<i", index, start + 4, len(index))
    return bytes(index)


def _mirax_ini(across: int, down: int, tile: int) -> str:
    text = (
        "\ufeff[GENERAL]\nSLIDE_VERSION = 01.02\nSLIDE_ID = SLIDE0001\nOBJECTIVE_MAGNIFICATION = 40\n"
        f"IMAGENUMBER_X = {across}\nIMAGENUMBER_Y = {down}\nCameraImageDivisionsPerSide = 1\n"
        "[HIERARCHICAL]\nHIER_COUNT = 1\nNONHIER_COUNT = 0\nINDEXFILE = Index.dat\n"
        "HIER_0_NAME = Slide zoom level\nHIER_0_COUNT = 2\n"
        "HIER_0_VAL_0_SECTION = LAYER_0_LEVEL_0_SECTION\nHIER_0_VAL_1_SECTION = LAYER_0_LEVEL_1_SECTION\n"
        "[DATAFILE]\nFILE_COUNT = 1\nFILE_0 = Data0000.dat\n"
    )
    for number in range(2):
        text += (
            f"[LAYER_0_LEVEL_{number}_SECTION]\nOVERLAP_X = 0\nOVERLAP_Y = 0\nIMAGE_FORMAT = JPEG\n"
            f"IMAGE_FILL_COLOR_BGR = 16777215\nDIGITIZER_WIDTH = {tile}\nDIGITIZER_HEIGHT = {tile}\n"
            f"MICROMETER_PER_PIXEL_X = {MPP * 2**number}\nMICROMETER_PER_PIXEL_Y = {MPP * 2**number}\n"
            f"IMAGE_CONCAT_FACTOR = {number}\n"
        )
    return text


def through_openslide(path: Path, mpp_um: float | None = None) -> FileSlide:
    """Open a file with OpenSlide, whatever adapter it would get."""
    from dtcseg.slide._openslide import OpenSlideSlide

    return OpenSlideSlide(path, Settings(mpp_um=mpp_um))


MAKERS: dict[str, Callable[[Path], Made]] = {
    maker.__name__: maker
    for maker in (
        ome_rgb, ome_fluorescence, ome_fluorescence_8bit, ome_uncompressed, svs, scn, bif, philips, tiled, striped,
        striped_raw, planar, planar_raw, rgba, imagej, jpeg_tiles, jpeg2000_tiles, png, jpeg, zarr_04, zarr_05, czi,
        czi_rgb, channel_files, mirax,
    )
}  # fmt: skip
