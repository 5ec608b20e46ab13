"""From the inputs of a run to its slides: folders, `slides.csv`, and a safe name for every result."""

from __future__ import annotations

import difflib
import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, cast

from dtcseg._slides_csv import TABLE, Row, is_result_table, read_table
from dtcseg.cells import ROLES, STAINS, Role, Stain
from dtcseg.config import SlideJob
from dtcseg.errors import SlideError, UsageError
from dtcseg.slide._common import LARGEST_MPP_UM, SMALLEST_MPP_UM
from dtcseg.slide._open import choose_adapters, is_dicom_folder, is_zarr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_NAME = 100
# Some file systems count bytes: 255 at most, and the files inside add their own suffixes.
LONGEST_NAME_BYTES = 200

_EXTENSIONS = frozenset({
    ".svs", ".tif", ".tiff", ".btf", ".tf8", ".tf2", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu", ".svslide",
    ".qptiff", ".dcm", ".czi", ".zarr", ".png", ".jpg", ".jpeg",
})  # fmt: skip
_SIDECARS = frozenset({
    ".csv", ".tsv", ".json", ".geojson", ".xml", ".txt", ".md", ".ini", ".html", ".htm", ".parquet", ".yaml", ".yml",
    ".log", ".pdf", ".xlsx", ".xls", ".docx", ".zip", ".gz", ".dat", ".opt", ".bak", ".tmp", ".part", ".py", ".npy",
    ".npz", ".sha256", ".md5",
})  # fmt: skip
# Pictures that lie beside a slide: its truth, its label, its overview. A label can show a patient's name.
_BESIDE = re.compile(r"\.truth\.|[ _.-](labels?|macro|thumb|thumbnail|mask)\.[^.]+$", re.IGNORECASE)
_WINDOWS_NAMES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
# A slide's folder lies beside these in the results folder.
_RESULT_FILES = frozenset({"run.json", "slides.csv", "patients.csv", "report.html", "log.jsonl"})


@dataclass(frozen=True)
class SlideFailure:
    """A slide that cannot even be tried, and why; the others go on.

    Attributes
    ----------
    name : str
        Name it would have in the results, unique in the run.
    file : Path
    reason : str
        One line, with the remedy.
    patient, timepoint, role, stain : str
        As `slides.csv` gives them, unchecked.
    """

    name: str
    file: Path
    reason: str
    patient: str = ""
    timepoint: str = ""
    role: str = ""
    stain: str = ""


class NoSlides(UsageError):
    """A folder in which there is no slide (yet)."""


class _RowError(Exception):
    """What is wrong with the rows of one slide."""


def find_slides(
    inputs: Sequence[Path], *, stain: str | None = None, mpp_um: float | None = None
) -> tuple[list[SlideJob], list[SlideFailure]]:
    """List the slides of a run.

    A folder is searched, but not its subfolders, unless it is a slide itself (OME-Zarr, a DICOM series). Hidden
    files, tables, texts, truth files (`*.truth.*`) and pictures of labels or overviews are passed over. The
    `slides.csv` of a folder describes its slides; files that it does not list are samples of their own.

    Parameters
    ----------
    inputs : sequence of Path
        Files and folders.
    stain : str, optional
        One of `STAINS`; overrides the tables.
    mpp_um : float, optional
        Pixel size in µm; overrides the tables and the files.

    Returns
    -------
    (list of SlideJob, list of SlideFailure)
        In the order of the inputs, then by name; a slide given twice is listed once.

    Raises
    ------
    UsageError
        An input that does not exist, a folder without slides, a table that cannot be read, an unusable flag.
    """
    if stain is not None and stain not in STAINS:
        raise UsageError(f"unknown stain {stain!r}; one of {', '.join(STAINS)}")
    if mpp_um is not None and not SMALLEST_MPP_UM <= mpp_um <= LARGEST_MPP_UM:
        raise UsageError(f"--mpp {mpp_um:g} is not between {SMALLEST_MPP_UM} and {LARGEST_MPP_UM:g} µm per pixel")
    if not inputs:
        raise UsageError("no slides given; name files or folders")
    found: list[SlideJob | SlideFailure] = []
    for path in (Path(one) for one in inputs):
        found += _of_input(path)
    named = _with_distinct_names(_without_repeats(found))
    jobs = [_with_flags(one, stain, mpp_um) for one in named if isinstance(one, SlideJob)]
    return jobs, [one for one in named if isinstance(one, SlideFailure)]


def result_name(file: Path) -> str:
    """Name of a slide's results folder: the file's name without extensions, safe on every file system.

    Letters of every script stay; what a file system, a shell or a spreadsheet would act on becomes "_".

    Parameters
    ----------
    file : Path
        Slide file or folder; only its name is looked at.

    Returns
    -------
    str
        1 to `LONGEST_NAME` characters.
    """
    name = file.name
    suffix = PurePosixPath(name).suffix
    if suffix.casefold() in _EXTENSIONS or (suffix and not file.is_dir()):
        name = name[: -len(suffix)]
        if name.casefold().endswith(".ome"):
            name = name[:-4]
    return safe_name(name)


def safe_name(text: str) -> str:
    """Make any text a file name; see `result_name`.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    name = unicodedata.normalize("NFC", text)
    # Category C: control, format (a right-to-left mark hides what follows), surrogate, private, unassigned;
    # Zl, Zp: line and paragraph separators.
    name = "".join(
        "_" if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") else c for c in name
    )
    name = re.sub(r"[\s\u00a0]+", " ", name)
    name = re.sub(r"[/\\:*?\"'`<>|]", "_", name).strip(" ")
    name = re.sub(r"^[=+\-@~.]", "_", name).rstrip(". ")
    if _WINDOWS_NAMES.fullmatch(name) or name.casefold() in _RESULT_FILES:
        name = f"_{name}"
    if len(name) > LONGEST_NAME or len(name.encode()) > LONGEST_NAME_BYTES:
        mark = _digest(name, 8)
        short = name[: LONGEST_NAME - 9]
        while len(short.encode()) > LONGEST_NAME_BYTES - 9:
            short = short[:-1]
        name = f"{short.rstrip('. ')}-{mark}"
    return name or "slide"


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def _of_input(path: Path) -> list[SlideJob | SlideFailure]:
    try:
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)!r} cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if not exists:
        raise UsageError(f"{path}: no such file or folder")
    if not is_folder or is_zarr(path):
        return _of_file(path)
    try:
        found = _of_folder(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be searched ({error.strerror or error})") from error
    if not found:
        raise NoSlides(f"{path}: holds no slide (subfolders are not searched)")
    return found


def _of_file(path: Path) -> list[SlideJob | SlideFailure]:
    """One slide; where the table beside it lists the file, as that table says."""
    folder = path.parent
    table = folder / TABLE
    if path.name != TABLE and table.is_file() and not is_result_table(table):
        for one in _of_table(folder, table):
            files = one.files if isinstance(one, SlideJob) else (one.file,)
            if any(_same_file(path, file) for file in files):
                return [one]
    return [SlideJob(name=result_name(path), files=(path,))]


def _of_folder(folder: Path) -> list[SlideJob | SlideFailure]:
    found: list[SlideJob | SlideFailure] = []
    listed: set[str] = set()
    table = folder / TABLE
    if table.is_file():
        found += _of_table(folder, table)
        # Files of a slide that fails are listed too: they are no samples of their own.
        listed = {key for row in read_table(table) if (key := _listed_key(folder, row))}
    plain = [SlideJob(name=result_name(path), files=(path,)) for path in _slides_in(folder) if _key(path) not in listed]
    return sorted([*found, *plain], key=lambda one: (one.name.casefold(), one.name))


def _listed_key(folder: Path, row: Row) -> str:
    try:
        return _key(_file_of(folder, row)) if row["file"] else ""
    except _RowError:
        return ""


def _slides_in(folder: Path) -> list[Path]:
    """List the slide files and slide folders directly in a folder."""
    members = [one for one in folder.iterdir() if not one.name.startswith(".") and not _BESIDE.search(one.name)]
    parts = _parts_of_vms(members)
    slides, dicom = [], False
    for path in sorted(members):
        if path.is_dir():
            if is_zarr(path) or is_dicom_folder(path):
                slides.append(path)
        elif path.name not in parts and _is_slide_file(path):
            if path.suffix.casefold() == ".dcm" or _adapters(path) == ("dicom",):
                # The files of a DICOM slide are its levels: the folder is the slide.
                dicom = True
            else:
                slides.append(path)
    return [*slides, folder] if dicom else slides


def _is_slide_file(path: Path) -> bool:
    """Whether a file is to be tried: a slide by its extension (then a bad one is reported), else by its content."""
    suffix = path.suffix.casefold()
    if suffix in _EXTENSIONS:
        return True
    return suffix not in _SIDECARS and path.is_file() and bool(_adapters(path))


def _adapters(path: Path) -> tuple[str, ...]:
    try:
        return choose_adapters(path)
    except SlideError:
        return ()


def _parts_of_vms(members: Iterable[Path]) -> set[str]:
    """Names of the JPEG files that belong to a Hamamatsu VMS slide, as its index file lists them."""
    members = list(members)
    parts: set[str] = set()
    for index in members:
        if index.suffix.casefold() in (".vms", ".vmu") and index.is_file():
            text = index.read_bytes()[:100_000].decode("utf-8", "replace")
            parts |= {one.name for one in members if one is not index and one.name in text}
    return parts


def _of_table(folder: Path, table: Path) -> list[SlideJob | SlideFailure]:
    """List the slides of a table, each as a job or as the reason why not."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    found: list[SlideJob | SlideFailure] = []
    for row in read_table(table):
        if not row["file"]:
            found.append(_failure(table, row, f"row {row.number}", f"row {row.number} of {TABLE} names no file"))
        elif row["slide"]:
            groups["slide", row["slide"]].append(row)
        else:
            groups["file", unicodedata.normalize("NFC", row["file"])].append(row)
    for (kind, value), rows in groups.items():
        name = safe_name(value) if kind == "slide" else result_name(Path(value.replace("\\", "/")))
        try:
            found.append(_job_of_rows(folder, name, rows))
        except _RowError as problem:
            found.append(_failure(folder / rows[0]["file"], rows[0], name, str(problem)))
    return found


def _failure(file: Path, row: Row, name: str, reason: str) -> SlideFailure:
    return SlideFailure(
        name, file, reason, patient=row["patient"], timepoint=row["timepoint"], role=row["role"], stain=row["stain"]
    )


def _job_of_rows(folder: Path, name: str, rows: list[Row]) -> SlideJob:
    """Join the rows of one slide; several only where they are its channels.

    Raises
    ------
    _RowError
        The rows contradict each other, or a cell cannot be used.
    """
    unique = list({tuple(sorted(row.cells.items())): row for row in rows}.values())
    if not unique[0]["slide"] and len(unique) > 1:
        numbers = " and ".join(str(row.number) for row in unique)
        raise _RowError(f"is listed twice in {TABLE}, differently (rows {numbers}); keep one row")
    files = tuple(_file_of(folder, row) for row in unique)
    if len({_key(file) for file in files}) < len(files):
        raise _RowError(f"{TABLE} gives one file for several channels (rows of slide {unique[0]['slide']!r})")
    channels = _channels_of(unique)
    stain = _choice(_agreed(unique, "stain"), STAINS, "stain")
    mpp_um = _mpp_of(_agreed(unique, "mpp"))
    return SlideJob(
        name=name,
        files=files,
        channels=channels,
        patient=_agreed(unique, "patient"),
        timepoint=_agreed(unique, "timepoint"),
        role=cast("Role", _choice(_agreed(unique, "role"), ROLES, "role") or "sample"),
        stain=cast("Stain | None", stain),
        stain_source=TABLE if stain else "",
        mpp_um=mpp_um,
        mpp_source=TABLE if mpp_um is not None else "",
        expected=_expected_of(_agreed(unique, "expected")),
    )


def _channels_of(rows: list[Row]) -> tuple[str, ...]:
    if len(rows) == 1:
        # One file with several channels: its channels in order, separated by |
        return tuple(part.strip() for part in rows[0]["channel"].split("|")) if rows[0]["channel"] else ()
    for row in rows:
        if not row["channel"]:
            raise _RowError(f"row {row.number} of {TABLE} names no channel for {row['file']} of slide {row['slide']!r}")
    return tuple(row["channel"] for row in rows)


def _agreed(rows: list[Row], column: str) -> str:
    values = {row[column] for row in rows if row[column]}
    if len(values) > 1:
        raise _RowError(f"{TABLE} gives several values of {column} for one slide: {', '.join(sorted(values))}")
    return values.pop() if values else ""


def _choice(text: str, allowed: Sequence[str], column: str) -> str:
    value = re.sub(r"[\s-]+", "_", text.casefold())
    if value and value not in allowed:
        raise _RowError(f"unknown {column} {text!r} in {TABLE}; one of {', '.join(allowed)}")
    return value


def _mpp_of(text: str) -> float | None:
    if not text:
        return None
    value = _number(text)
    if not SMALLEST_MPP_UM <= value <= LARGEST_MPP_UM:
        raise _RowError(
            f"mpp {text!r} in {TABLE} is not a number between {SMALLEST_MPP_UM} and {LARGEST_MPP_UM:g} (µm per pixel)"
        )
    return value


def _expected_of(text: str) -> float | None:
    if not text:
        return None
    value = _number(text)
    if not 0.0 < value < math.inf:
        raise _RowError(f"expected {text!r} in {TABLE} is not a number of cells above 0")
    return value


def _number(text: str) -> float:
    """Read a number, NaN where it is none; spreadsheets of many countries write a decimal comma."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def _file_of(folder: Path, row: Row) -> Path:
    """Find the file a row names, inside the folder of the table."""
    text = row["file"]
    for kind in (PurePosixPath, PureWindowsPath):
        pure = kind(text)
        if pure.is_absolute() or ".." in pure.parts or pure.drive:
            raise _RowError(f"file {text!r} in {TABLE} lies outside the folder; name files inside it")
    try:
        for candidate in (folder / text, folder / text.replace("\\", "/")):
            if candidate.exists():
                return candidate
        return _by_normal_form(folder / text)
    except (OSError, ValueError) as error:
        raise _RowError(f"file {text!r} in {TABLE} cannot be looked up ({error})") from error


def _by_normal_form(path: Path) -> Path:
    """Find a file whose umlauts are encoded another way than in the table, as macOS does."""
    wanted = unicodedata.normalize("NFC", path.name)
    names = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    for name in names:
        if unicodedata.normalize("NFC", name) == wanted:
            return path.parent / name
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise _RowError(f"no such file, though {TABLE} lists it{hint}")


def _key(path: Path) -> str:
    """Return what makes two paths one file."""
    try:
        return str(path.resolve())
    except (OSError, RuntimeError, ValueError):
        return str(path.absolute())


def _same_file(one: Path, other: Path) -> bool:
    return _key(one) == _key(other)


def _without_repeats(found: list[SlideJob | SlideFailure]) -> list[SlideJob | SlideFailure]:
    seen: set[tuple[str, ...]] = set()
    kept = []
    for one in found:
        key = tuple(_key(file) for file in one.files) if isinstance(one, SlideJob) else (_key(one.file), one.reason)
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept


def _with_distinct_names(found: list[SlideJob | SlideFailure]) -> list[SlideJob | SlideFailure]:
    """Tell slides of one name apart by a mark made from their place, so that neither order nor repetition matters."""
    for digits in (6, 12, 40):
        counts = Counter(unicodedata.normalize("NFC", one.name).casefold() for one in found)
        if max(counts.values(), default=1) == 1:
            break
        renamed: list[SlideJob | SlideFailure] = []
        for one in found:
            if counts[unicodedata.normalize("NFC", one.name).casefold()] > 1:
                file = one.files[0] if isinstance(one, SlideJob) else one.file
                extra = one.reason if isinstance(one, SlideFailure) else ""
                mark = _digest(f"{_key(file)}\0{extra}", digits)
                one = replace(one, name=f"{one.name[: LONGEST_NAME - digits - 1]}-{mark}")
            renamed.append(one)
        found = renamed
    return found


def _with_flags(job: SlideJob, stain: str | None, mpp_um: float | None) -> SlideJob:
    if stain is not None:
        job = replace(job, stain=cast("Stain", stain), stain_source="flag")
    if mpp_um is not None:
        job = replace(job, mpp_um=mpp_um, mpp_source="flag")
    return job
