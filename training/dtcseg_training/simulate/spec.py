"""Every factor that differs between laboratories, and how one is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dtcseg.cells import STAINS, Stain
from dtcseg_training.simulate.cytokeratin import HAEMATOPOIETIC, TUMOUR, UNINTERPRETABLE
from dtcseg_training.simulate.leukocytes import Look

Vector = tuple[float, float, float]
# Optical density in R, G, B: hematoxylin and DAB after Ruifrok and Johnston 2001, red chromogens from their spectra.
HEMATOXYLIN: Vector = (0.65, 0.70, 0.29)
CHROMOGENS: dict[str, Vector] = {
    "new_fuchsin": (0.12, 0.91, 0.40),
    "fast_red": (0.21, 0.85, 0.48),
    "aec": (0.27, 0.68, 0.68),
    "dab": (0.27, 0.57, 0.78),
}
_LEAST_PART = 0.02  # no stain is clear in any colour
# Share of nucleated cells after a density gradient; haematology textbooks, mononuclear cells enriched.
COMPOSITION: dict[str, float] = {
    "lymphocyte": 0.30,
    "erythroblast": 0.20,
    "monocyte": 0.08,
    "myelocyte": 0.10,
    "promyelocyte": 0.04,
    "blast": 0.04,
    "neutrophil": 0.09,
    "band": 0.05,
    "eosinophil": 0.025,
    "plasma_cell": 0.02,
    "macrophage": 0.006,
    "stromal": 0.003,
    "naked_nucleus": 0.03,
    "mitosis": 0.004,
    "megakaryocyte": 0.0008,
    "smudge": 0.015,
}


@dataclass(frozen=True)
class Staining:
    """Chemistry of a brightfield slide; optical densities are along unit vectors, base 10.

    Attributes
    ----------
    hematoxylin, chromogen : (3,) tuple of float
        Unit vectors of optical density in R, G, B.
    nuclear_od : float
        Density of a lymphocyte's nucleus (0.18 light to 1.5 heavy).
    ck_od : float
        What a typical tumour cell of this laboratory shows.
    background_ck_od, background_hematoxylin_od, cytoplasm_ck_od : float
        Chromogen and counterstain on the glass, and chromogen that sticks to every cell.
    unevenness : float
        Relative size of slow changes of the background.
    """

    hematoxylin: Vector = HEMATOXYLIN
    chromogen: Vector = CHROMOGENS["new_fuchsin"]
    nuclear_od: float = 0.6
    ck_od: float = 0.6
    background_ck_od: float = 0.01
    background_hematoxylin_od: float = 0.01
    cytoplasm_ck_od: float = 0.01
    unevenness: float = 0.3


@dataclass(frozen=True)
class Camera:
    """From light to numbers in brightfield.

    Attributes
    ----------
    white : (3,) tuple of float
        Level of empty glass, share of full scale.
    shading : float
        Relative size of slow changes of the illumination.
    gamma : float
        Exponent on the transmission; it scales optical densities, not their directions.
    glare : float
        Share of light that reaches every pixel unabsorbed.
    sharpen : float
        Weight of the scanner's unsharp mask.
    photons : float
        Photons a full-scale pixel collects.
    read_noise : float
        Standard deviation, share of full scale.
    jpeg_quality : int or None
        None: no compression.
    jpeg_subsampling : {"444", "422", "420"}
    """

    white: Vector = (0.93, 0.93, 0.93)
    shading: float = 0.03
    gamma: float = 1.0
    glare: float = 0.01
    sharpen: float = 0.0
    photons: float = 8000.0
    read_noise: float = 0.003
    jpeg_quality: int | None = 85
    jpeg_subsampling: str = "420"


@dataclass(frozen=True)
class Fluorescence:
    """Light and camera of a fluorescence slide; three values are those of DAPI, CK, CD45.

    Attributes
    ----------
    bits : {8, 12, 16}
        Depth of the camera; 12 is stored in 16.
    exposure : (3,) tuple of float
        Share of full scale reached by a signal of 1 (lymphocyte nucleus, CK of 1, lymphocyte membrane).
    photons : (3,) tuple of float
        Photons of a signal of 1.
    offset : float
        Camera offset, share of full scale.
    read_noise : float
        Share of full scale.
    background : (3,) tuple of float
        Signal of empty glass.
    autofluorescence : (3,) tuple of float
        Signal of cytoplasm.
    bleed_through : 3 x 3 tuple of float
        Row: channel seen; column: dye.
    haze, haze_um : float
        Share of the light that comes from out of focus, and how far it spreads (standard deviation).
    cd45 : bool
        Whether the slide was stained for CD45; without, the third channel is zero.
    """

    bits: int = 16
    exposure: Vector = (0.3, 0.3, 0.2)
    photons: Vector = (800.0, 500.0, 300.0)
    offset: float = 0.01
    read_noise: float = 0.0015
    background: Vector = (0.02, 0.03, 0.03)
    autofluorescence: Vector = (0.02, 0.08, 0.05)
    bleed_through: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.01, 1.0, 0.01), (0.0, 0.02, 1.0))
    haze: float = 0.15
    haze_um: float = 9.0
    cd45: bool = True


@dataclass(frozen=True)
class Optics:
    """Blur, all as standard deviations in µm of the specimen.

    Attributes
    ----------
    blur_um : float
        Everywhere.
    defocus_um : float
        Reached in the worst patches.
    defocus_share : float
        Roughly the share of the slide that is out of focus.
    colour_shift_um : float
        Lateral shift between red and blue.
    """

    blur_um: float = 0.35
    defocus_um: float = 0.0
    defocus_share: float = 0.0
    colour_shift_um: float = 0.0


@dataclass(frozen=True)
class FieldSpec:
    """One field of view (or one slide) in full.

    Attributes
    ----------
    stain : str
        One of `dtcseg.cells.STAINS`.
    mpp_um : float
        Pixel size, 0.1 to 1.1.
    size_px : (int, int)
        Height and width.
    density_per_mm2 : float
        Nucleated cells.
    red_cells_per_mm2, platelets_per_mm2 : float
    clumping : float
        Share of the cells that lie in clumps.
    overlap : float
        How far two cells may lie over each other, share of the sum of their radii.
    composition : tuple of (kind, share)
        Of the nucleated cells.
    counts : tuple of (kind, number)
        Special objects with their centre in the field: kinds of `cytokeratin` and `artefacts`.
    textures : tuple of str
        Of the cytokeratin of tumour cells; none means the usual ones.
    compact, mixed : float
        Shares of the single tumour cells that are made small, with cytokeratin over the nucleus, and of all of them
        (each cluster as one) in which one texture lies over another.
    """

    stain: Stain = "new_fuchsin"
    mpp_um: float = 0.5
    size_px: tuple[int, int] = (512, 512)
    density_per_mm2: float = 2000.0
    red_cells_per_mm2: float = 100.0
    platelets_per_mm2: float = 100.0
    clumping: float = 0.2
    overlap: float = 0.15
    composition: tuple[tuple[str, float], ...] = tuple(COMPOSITION.items())
    counts: tuple[tuple[str, int], ...] = ()
    textures: tuple[str, ...] = ()
    compact: float = 0.0
    mixed: float = 0.0
    staining: Staining = field(default_factory=Staining)
    optics: Optics = field(default_factory=Optics)
    camera: Camera = field(default_factory=Camera)
    fluorescence: Fluorescence = field(default_factory=Fluorescence)
    look: Look = field(default_factory=Look)

    @property
    def area_mm2(self) -> float:
        """Area of the field."""
        return self.size_px[0] * self.size_px[1] * (self.mpp_um / 1000.0) ** 2


def draw_spec(
    rng: np.random.Generator,
    *,
    stain: Stain | None = None,
    mpp_um: float | None = None,
    size_px: tuple[int, int] = (512, 512),
    enriched: bool = True,
    dirt: float = 1.0,
) -> FieldSpec:
    """Draw a laboratory, a scanner and a field at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    stain : str, optional
        Drawn when not given.
    mpp_um : float, optional
        Drawn log-uniformly from 0.2 to 0.8 when not given.
    size_px : (int, int)
    enriched : bool
        Fields full of tumour cells and mimics, else next to none, as on real slides.
    dirt : float
        How many times the usual number of fibres, squames, precipitates and the like to expect.
    """
    stain = stain or STAINS[int(rng.integers(len(STAINS)))]
    mpp_um = mpp_um or float(np.exp(rng.uniform(np.log(0.2), np.log(0.8))))
    spec = FieldSpec(
        stain=stain,
        mpp_um=mpp_um,
        size_px=size_px,
        density_per_mm2=float(np.clip(np.exp(rng.normal(np.log(2100), 0.65)), 300, 6000)),
        red_cells_per_mm2=float(rng.exponential(250) if rng.random() < 0.7 else rng.uniform(500, 3000)),
        platelets_per_mm2=float(rng.exponential(250)),
        clumping=float(rng.uniform(0, 0.6)),
        overlap=float(rng.uniform(0.02, 0.35)),
        composition=_draw_composition(rng),
        staining=_draw_staining(rng, stain),
        optics=_draw_optics(rng),
        camera=_draw_camera(rng),
        fluorescence=_draw_fluorescence(rng),
        look=_draw_look(rng, stain),
    )
    return replace(spec, counts=draw_counts(rng, spec, enriched, dirt))


def without_tumour(counts: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """Leave tumour cells out of a field's `counts`."""
    return tuple((kind, number) for kind, number in counts if kind not in TUMOUR)


def _turned(rng: np.random.Generator, vector: Vector, degrees: float) -> Vector:
    """Turn a stain vector by a few degrees and keep it a unit vector without negative parts."""
    return jittered(rng, np.array(vector) / np.linalg.norm(vector), np.tan(np.radians(degrees)) / np.sqrt(2))


def jittered(rng: np.random.Generator, vector: npt.ArrayLike, error: float) -> Vector:
    """Turn a unit vector a little: `error` is the standard deviation of each of its parts; none gets negative."""
    moved = np.maximum(np.asarray(vector) + rng.normal(0, error, 3), _LEAST_PART)
    return _triple(moved / np.linalg.norm(moved))


def turned_by(vector: Vector, aside: npt.NDArray[np.float64], degrees: float) -> Vector:
    """Turn a stain vector by so many degrees, at a right angle to `aside` (3,); none of its parts gets negative."""
    unit = np.array(vector) / np.linalg.norm(vector)
    across = np.cross(unit, aside)
    across /= np.linalg.norm(across)
    angle = np.radians(degrees)
    moved = np.maximum(np.cos(angle) * unit + np.sin(angle) * across, _LEAST_PART)
    return _triple(moved / np.linalg.norm(moved))


def _triple(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def _draw_composition(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    shares = {kind: share * np.exp(rng.normal(0, 0.5)) for kind, share in COMPOSITION.items()}
    total = sum(shares.values())
    return tuple((kind, float(share / total)) for kind, share in shares.items())


def _draw_staining(rng: np.random.Generator, stain: str) -> Staining:
    return Staining(
        hematoxylin=_turned(rng, _mixed(rng), 4.5),
        chromogen=_turned(rng, CHROMOGENS.get(stain, CHROMOGENS["dab"]), 4.0),
        nuclear_od=float(np.clip(np.exp(rng.normal(np.log(0.55), 0.5)), 0.18, 1.5)),
        ck_od=float(np.clip(np.exp(rng.normal(np.log(0.6), 0.4)), 0.25, 1.4)),
        background_ck_od=float(min(rng.exponential(0.012), 0.08)),
        background_hematoxylin_od=float(min(rng.exponential(0.012), 0.06)),
        cytoplasm_ck_od=float(min(rng.exponential(0.015), 0.09)),
        unevenness=float(rng.uniform(0, 0.6)),
    )


def _mixed(rng: np.random.Generator) -> Vector:
    """Draw a counterstain between the usual blue, a purple and a greenish blue one."""
    weight = rng.dirichlet((2.5, 0.8, 0.5))
    return _triple(weight @ np.array([HEMATOXYLIN, (0.50, 0.81, 0.31), (0.77, 0.59, 0.24)]))


def _draw_optics(rng: np.random.Generator) -> Optics:
    blurred = rng.random() < 0.12
    patches = rng.random() < 0.3
    return Optics(
        blur_um=float(rng.uniform(0.8, 1.8) if blurred else rng.uniform(0.2, 0.7)),
        defocus_um=float(rng.uniform(0.8, 3.0)) if patches else 0.0,
        defocus_share=float(rng.uniform(0.05, 0.5)) if patches else 0.0,
        colour_shift_um=float(abs(rng.normal(0, 0.12))),
    )


def _draw_camera(rng: np.random.Generator) -> Camera:
    level = rng.uniform(0.78, 0.985)
    return Camera(
        white=_triple(np.clip(level * (1 + rng.normal(0, 0.025, 3)), 0.6, 1.0)),
        shading=float(rng.uniform(0, 0.07)),
        gamma=float(np.exp(rng.normal(0, 0.14))),
        glare=float(rng.uniform(0, 0.03)),
        sharpen=float(rng.uniform(0.1, 0.9)) if rng.random() < 0.4 else 0.0,
        photons=float(10 ** rng.uniform(2.9, 4.3)),
        read_noise=float(rng.uniform(0.0005, 0.006)),
        jpeg_quality=int(rng.integers(40, 96)) if rng.random() < 0.85 else None,
        jpeg_subsampling=str(rng.choice(["444", "422", "420"], p=[0.4, 0.2, 0.4])),
    )


def _draw_fluorescence(rng: np.random.Generator) -> Fluorescence:
    leaks = rng.exponential(0.012, (3, 3)) * np.array([[0, 0.3, 0.1], [1.0, 0, 1.0], [0.3, 1.5, 0]])
    leaks = np.minimum(leaks, 0.1) + np.eye(3)
    return Fluorescence(
        bits=int(rng.choice([8, 12, 16], p=[0.3, 0.35, 0.35])),
        exposure=_triple(np.exp(rng.uniform(np.log(0.06), np.log(0.6), 3))),
        photons=_triple(10 ** rng.uniform(1.8, 3.5, 3)),
        offset=float(rng.uniform(0, 0.03)),
        read_noise=float(10 ** rng.uniform(-3.5, -2.4)),
        background=_triple(np.minimum(rng.exponential(0.03, 3), 0.15)),
        autofluorescence=_triple(np.minimum(rng.exponential(1, 3) * np.array([0.01, 0.05, 0.04]), 0.2)),
        bleed_through=(_triple(leaks[0]), _triple(leaks[1]), _triple(leaks[2])),
        haze=float(rng.uniform(0, 0.35)),
        haze_um=float(rng.uniform(2.5, 14)),
        cd45=bool(rng.random() < 0.6),
    )


def _draw_look(rng: np.random.Generator, stain: str) -> Look:
    return Look(
        chromatin=float(rng.uniform(0.4, 2.0)),
        rim=float(rng.uniform(0.2, 1.5)),
        thickness_um=float(rng.uniform(0.2, 1.1) if stain == "if" else rng.uniform(0.1, 0.8)),
        lifted=float(rng.uniform(0, 0.1)) if rng.random() < 0.5 else 0.01,
        dome=float(rng.uniform(0.05, 0.6) if stain != "if" else rng.uniform(0.2, 0.9)),
        irregular=float(np.exp(rng.normal(0.1, 0.45))),
        spread=float(rng.uniform(0.1, 0.4)),
        cytoplasm=float(np.clip(np.exp(rng.normal(np.log(0.09), 0.5)), 0.02, 0.3)),
        granules=_turned(rng, (0.2, 0.75, 0.63), 8.0),
        eosin=float(min(rng.exponential(0.07), 0.25)),
        red_cells=float(min(rng.exponential(0.08), 0.35)),
    )


# Expected numbers in an enriched field of 256 x 256 µm; the second column in one of an ordinary slide.
_EXPECTED: dict[str, tuple[float, float]] = {
    **dict(zip(TUMOUR, ((2.2, 0.002), (0.4, 0.0003), (0.35, 0.0003)), strict=True)),
    **dict.fromkeys(UNINTERPRETABLE, (0.45, 0.001)),
    **dict.fromkeys(HAEMATOPOIETIC, (0.5, 0.01)),
    "megakaryocyte_reactive": (0.2, 0.002),
    "squame": (0.2, 0.003),
    "precipitate": (0.7, 0.05),
    "pigment": (0.35, 0.01),
    "debris": (0.5, 0.05),
    "fibre": (0.1, 0.005),
    "bubble": (0.04, 0.002),
    "ink": (0.03, 0.0005),
    "dust": (0.3, 0.1),
    "flake": (0.5, 0.1),
    "glowing": (0.6, 0.02),
}


def occurs(kind: str, spec: FieldSpec) -> bool:
    """Whether objects of a kind are to be seen on the slides of a laboratory, by what it stains."""
    if kind == "plasma_reactive":
        return spec.stain not in ("aec", "dab")  # direct reactivity with alkaline phosphatase alone, Borgen 1998
    if kind == "double_positive":
        return spec.stain == "if" and spec.fluorescence.cd45  # nothing else would tell it from a tumour cell
    return kind != "glowing" or spec.stain == "if"


def reactive_kinds(spec: FieldSpec) -> tuple[str, ...]:
    """Haematopoietic cells that may hold what a laboratory stains."""
    return tuple(kind for kind in HAEMATOPOIETIC if occurs(kind, spec))


def draw_counts(rng: np.random.Generator, spec: FieldSpec, enriched: bool, dirt: float) -> tuple[tuple[str, int], ...]:
    """Draw how many special objects of each kind a field holds, for its area; parameters as `draw_spec`."""
    area = np.clip(spec.area_mm2 / 0.0655, 0.2, 4.0)
    crowd = float(rng.choice([0.0, 0.6, 1.0, 1.6], p=[0.08, 0.3, 0.42, 0.2])) if enriched else 1.0
    counts = []
    for kind, (rich, plain) in _EXPECTED.items():
        if not occurs(kind, spec):
            continue
        times = 1.0 if kind in TUMOUR + UNINTERPRETABLE + HAEMATOPOIETIC else dirt
        counts.append((kind, int(rng.poisson((rich if enriched else plain) * area * crowd * times))))
    return tuple((kind, number) for kind, number in counts if number)
