"""Simulated crops: fields like the laboratory's slides, and the locked set that weights are held against.

Both are what the screen of the weights that are begun with takes for candidates on simulated fields, with their truth
(`dtcseg_training.mine`). They are drawn once for those weights (and slides) and kept; fields that are there are not
drawn again.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from dtcseg.errors import UsageError
from dtcseg.results.atomic import write_file, writing_to
from dtcseg.results.text import one_line
from dtcseg_training.side_by_side import side_by_side

if TYPE_CHECKING:
    from dtcseg.network.laboratory import Signature
    from dtcseg.network.weights import WeightsInfo
    from dtcseg.screen import SlideProfile
    from dtcseg_training.learn.alike import Likeness

Kind = Literal["alike", "aside", "judging", "reference"]
_SEEDS: dict[Kind, int] = {"alike": 6_100_000, "aside": 6_200_000, "judging": 6_400_000, "reference": 6_300_000}
"""Of the fields like the laboratory's: learned from, calibrated by, judged by; and of the locked set."""
_ARRAYS = ("crops", "masks", "calls", "spreads", "screened")
_FORMAT = 3
"""Of the files of a folder, which is named by it: fields that older programs drew do not tell what the screen says."""
DEPTH = 3.0
"""How many times lower than in the card the threshold of candidates may become for a laboratory."""


@dataclass(frozen=True)
class FieldCrops:
    """Candidates of one simulated field, as in `dtcseg_training.fields.Lesson`, and how it is stained.

    `screened` is the probability of the screen at each, 0 where it misses a tumour cell (`mine.mine_crops`).
    """

    crops: npt.NDArray[np.float16]
    masks: npt.NDArray[np.bool_]
    calls: npt.NDArray[np.int64]
    spreads: npt.NDArray[np.float32]
    screened: npt.NDArray[np.float32]
    signature: Signature


def draw_fields(
    work: Path,
    kind: Kind,
    count: int,
    weights: WeightsInfo,
    known: Sequence[Likeness] = (),
    *,
    processes: int,
    on_field: Callable[[int], None],
    stop: Callable[[], bool],
) -> bool:
    """Draw the fields of one kind that are still missing.

    Parameters
    ----------
    work : Path
        Gets the folder `<kind>-3-<sha256 of the weights, 12 digits>`, of fields like slides with another 12 of those.
    kind : {"alike", "aside", "judging", "reference"}
    count : int
        Field i of a kind is always the same for the same weights and slides.
    weights : WeightsInfo
    known : sequence of Likeness
        What the slides are like that the fields are like; of the reference set none.
    processes : int
    on_field : callable
        Told how many are there now.
    stop : callable
        Asked after each field.

    Returns
    -------
    bool
        Whether all are there; False where it was asked to stop.
    """
    folder = _folder(work, kind, weights, known)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(count) if not (folder / _name(index)).exists()]
    on_field(count - len(missing))
    if not missing:
        return True
    there = count - len(missing)
    for _ in side_by_side(partial(_draw, folder, kind, known, str(weights.path)), missing, processes):
        there += 1
        on_field(there)
        if there < count and stop():
            return False
    return True


def _draw(folder: Path, kind: Kind, known: Sequence[Likeness], model: str, index: int) -> None:
    from dtcseg_training.learn.alike import draw_alike
    from dtcseg_training.mine import any_field, mine_crops

    profiles: list[SlideProfile] = []

    def noted(profile: SlideProfile) -> SlideProfile:
        profiles.append(profile)
        return profile

    draw = partial(draw_alike, known) if known else any_field
    crops, screened = mine_crops(_SEEDS[kind], index, model, noted, draw, DEPTH if known else 1.0)
    stream = io.BytesIO()
    arrays: dict[str, Any] = dict(zip(_ARRAYS, (*crops, screened), strict=True))
    np.savez_compressed(stream, signature=np.array(profiles[-1].signature), **arrays)  # the last: that of the crops
    with writing_to(folder):
        write_file(folder / _name(index), stream.getvalue())


def load_fields(
    work: Path, kind: Kind, count: int, weights: WeightsInfo, known: Sequence[Likeness] = ()
) -> list[FieldCrops]:
    """Read fields that were drawn; a damaged one is removed, so that the same command draws it again.

    Raises
    ------
    UsageError
        A file is damaged.
    """
    folder = _folder(work, kind, weights, known)
    fields = []
    for index in range(count):
        path = folder / _name(index)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                signature = tuple(float(value) for value in arrays["signature"])
                fields.append(FieldCrops(**{name: arrays[name] for name in _ARRAYS}, signature=signature))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            path.unlink(missing_ok=True)
            raise UsageError(
                f"{one_line(path)}: was damaged and is removed; the same command draws it again"
            ) from error
    return fields


def fields_sha256(fields: Sequence[FieldCrops]) -> str:
    """Name a set of fields by all that is in it."""
    digest = hashlib.sha256()
    for field in fields:
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(field, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        digest.update(json.dumps(field.signature).encode("ascii"))
    return digest.hexdigest()


def lock(work: Path, weights: WeightsInfo, fields: Sequence[FieldCrops]) -> str:
    """Write down the hash of the reference set when it is made, and hold every later use of it against that.

    Raises
    ------
    UsageError
        The set is not the one that was locked.
    """
    path = _folder(work, "reference", weights) / f"locked-{len(fields)}.json"
    sha256 = fields_sha256(fields)
    if not path.exists():
        with writing_to(path.parent):
            write_file(path, (json.dumps({"fields": len(fields), "sha256": sha256}) + "\n").encode("ascii"))
        return sha256
    try:
        known = str(json.loads(path.read_bytes())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        known = ""
    if known != sha256:
        raise UsageError(
            f"{one_line(path.parent)}: the reference set is not the one that was locked; remove this folder to have it "
            "drawn again"
        )
    return sha256


def _folder(work: Path, kind: Kind, weights: WeightsInfo, known: Sequence[Likeness] = ()) -> Path:
    name = f"{kind}-{_FORMAT}-{weights.sha256[:12]}"
    if known:
        slides = json.dumps([asdict(likeness) for likeness in known], sort_keys=True)
        name += f"-{hashlib.sha256(slides.encode('ascii')).hexdigest()[:12]}"
    return work / name


def _name(index: int) -> str:
    return f"{index:05d}.npz"
