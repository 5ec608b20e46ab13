"""What weights know: the measures of slides of laboratories as their training drew them, beside the weights as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dtcseg.drift.measures import MEASURES, Kind, Measured, measure
from dtcseg.errors import UsageError
from dtcseg.network.history import KNOWN_SUFFIX, own_folder
from dtcseg.network.weights import find_sha256, released_weights
from dtcseg.results.folder import read_records
from dtcseg.results.text import one_line

if TYPE_CHECKING:
    from dtcseg.network.weights import WeightsInfo
    from dtcseg.results.record import SlideRecord

_FORMAT, _VERSION = "dtcseg known slides", 1
_MOST_BYTES = 1 << 24
_MOST_PARENTS = 50


@dataclass(frozen=True)
class Reference:
    """Slides that weights know.

    Attributes
    ----------
    weights : str
        Name of the weights that scored them.
    sha256 : str
        Of these weights.
    slides : tuple of Measured
    """

    weights: str
    sha256: str
    slides: tuple[Measured, ...]


def measure_folder(root: Path, records: Iterable[SlideRecord] | None = None) -> list[Measured]:
    """Measure the slides of a results folder that were assessed, by name.

    Parameters
    ----------
    root : Path
    records : iterable of SlideRecord, optional
        Only these.
    """
    chosen = read_records(root).values() if records is None else records
    known = [record for record in sorted(chosen, key=lambda record: record.slide) if record.assessable]
    return [measure(record, _cells(root / record.slide / "cells.csv")) for record in known]


def _cells(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []


def to_json(reference: Reference) -> bytes:
    """Write a reference down, one slide a line."""
    head = {"format": _FORMAT, "version": _VERSION, "weights": {"name": reference.weights, "sha256": reference.sha256}}
    rows = ",\n  ".join(
        json.dumps({"slide": slide.slide, "kind": slide.kind, "values": slide.values}, sort_keys=True)
        for slide in reference.slides
    )
    return f'{json.dumps(head)[:-1]}, "slides": [\n  {rows}\n]}}\n'.encode("ascii")


def read_reference(path: Path) -> Reference:
    """Read a reference.

    Raises
    ------
    UsageError
        It is none.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_bytes())
        if (values["format"], values["version"]) != (_FORMAT, _VERSION):
            raise ValueError("of another version")
        slides = tuple(_slide(entry) for entry in values["slides"])
        return Reference(str(values["weights"]["name"]), str(values["weights"]["sha256"]), slides)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{one_line(path)}: does not say what weights know ({type(error).__name__}: {one_line(error)}); copy it "
            "again"
        ) from error


def _slide(entry: dict[str, object]) -> Measured:
    values = entry["values"]
    kind: Kind | None = next((kind for kind in get_args(Kind) if kind == entry["kind"]), None)
    if not isinstance(values, dict) or kind is None:
        raise TypeError("not a measured slide")
    return Measured(str(entry["slide"]), kind, {k: float(v) for k, v in values.items() if k in MEASURES})


def reference_of(sha256: str) -> Reference | None:
    """Find what weights know; of weights that were learned from reviews, what they began with and what they added.

    Parameters
    ----------
    sha256 : str
        Of the weights.

    Returns
    -------
    Reference or None
        None where nothing is known of them: they are not here, or came without it.
    """
    added: list[Measured] = []
    first = sha256
    for _ in range(_MOST_PARENTS):
        found = _beside(sha256)
        if found is not None:
            added += found.slides
            if found.sha256 == sha256:
                return Reference(found.weights, first, tuple(added))
        info = find_sha256(sha256)
        if info is None or not info.card.parent:
            return None
        sha256 = info.card.parent
    return None


def _beside(sha256: str) -> Reference | None:
    """Read the file beside released or own weights, if there is one that can be read."""
    released = [path for path, known in released_weights()[1].values() if known == sha256]
    places = [path.with_name(path.stem + KNOWN_SUFFIX) for path in released]
    for path in (*places, own_folder() / f"{sha256}{KNOWN_SUFFIX}"):
        if path.is_file():
            return read_reference(path)
    return None


def added_slides(parent: WeightsInfo, slides: Iterable[tuple[Path, SlideRecord]]) -> bytes:
    """Write down the slides that weights learned from beyond those of the weights they began with.

    Parameters
    ----------
    parent : WeightsInfo
        What they began with.
    slides : iterable of (Path, SlideRecord)
        Results folder and record of each.
    """
    measured = [one for root, record in slides for one in measure_folder(root, [record])]
    return to_json(Reference(parent.name, parent.sha256, tuple(sorted(measured, key=lambda one: one.slide))))
