"""Which time point comes first: by `timepoints.csv`, else by the names themselves.

Names are compared as people mean them: a baseline comes first, then cycles, visits or times by their number (C3 before
C12, 6 months before 1 year), then what is counted from the end of treatment ("+6 mo", "follow-up 2"). A name that
says neither is put last and takes no part in comparisons, for a wrong order would turn a reduction into a rise.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dtcseg.results.text import one_line

_START = frozenset(
    {
        "baseline", "base line", "base", "bl", "screening", "screen", "scr", "pre", "before", "start", "diagnosis",
        "dx", "enrolment", "enrollment", "pretreatment", "pre treatment",
    }
)  # fmt: skip
_DAYS = {"d": 1.0, "day": 1.0, "w": 7.0, "wk": 7.0, "week": 7.0, "mo": 30.4375, "mon": 30.4375, "mth": 30.4375}
_DAYS |= {"month": 30.4375, "y": 365.25, "yr": 365.25, "year": 365.25}
_AFTER = re.compile(r"^(\+|fu\b|f/u|follow ?up|post|after)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


@dataclass(frozen=True)
class Place:
    """Where a name belongs.

    Attributes
    ----------
    rank : int
        0 the start, 1 in between, 2 counted from the end of treatment, 3 not known.
    kind : str
        What the number counts ("days", "c", "bm" …); numbers of different kinds cannot be compared.
    number : float
    """

    rank: int
    kind: str
    number: float


@dataclass(frozen=True)
class Order:
    """The time points of a study in order.

    Attributes
    ----------
    names : tuple of str
        Earliest first; those whose place is not known come last.
    unknown : frozenset of str
        Time points that have no place in time.
    warnings : tuple of str
        One line each.
    """

    names: tuple[str, ...]
    unknown: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def index(self, name: str) -> int:
        """Return the place of a time point on the time line."""
        return self.names.index(name)

    def known(self, name: str) -> bool:
        """Whether the time point can be said to come before or after another."""
        return name in self.names and name not in self.unknown


def make_order(
    names: Iterable[str], given: Mapping[str, float] | None = None, *, together: Collection[str] | None = None
) -> Order:
    """Put time points in order.

    Parameters
    ----------
    names : iterable of str
        As the slides have them, and other assays' beside them.
    given : mapping of str to float, optional
        From `timepoints.csv`; where there is one, it alone counts.
    together : collection of str, optional
        Time points of patients who have several; nothing is said of others whose place is not known, for nobody misses
        it. All where not given.
    """
    seen = list(dict.fromkeys(names))
    missed = set(seen if together is None else together)
    return _as_given(seen, given, missed) if given else _by_name(seen, missed)


def place(name: str) -> Place:
    """Read a time point's name."""
    text = re.sub(r"[\s_]+", " ", name.strip().casefold()).replace("-", " ").strip()
    after = _AFTER.search(text)
    if not after and text in _START:
        return Place(0, "", 0.0)
    if re.fullmatch(r"\d{4} \d\d? \d\d?", text):  # a date
        year, month, day = (int(part) for part in text.split())
        return Place(1, "date", year * 372.0 + month * 31.0 + day)
    numbers = _NUMBER.findall(text)
    words = " ".join(_NUMBER.sub(" ", text[after.end() :] if after else text).split())
    if len(numbers) > 1 or (not numbers and not after):
        return Place(3, words, 0.0)
    number = float(numbers[0].replace(",", ".")) if numbers else 0.0
    unit = _DAYS.get(words) or _DAYS.get(words.removesuffix("s"))
    kind, number = ("days", number * unit) if unit else (words, number)
    if after:
        return Place(2, kind, number)
    return Place(0 if number == 0.0 else 1, kind, number)


def _by_name(names: list[str], missed: set[str]) -> Order:
    places = {name: place(name) for name in names}
    unknown = {name for name, at in places.items() if at.rank == 3} if len(names) > 1 else set()
    warnings = []
    if unknown & missed:
        listed = _listed(unknown & missed)
        warnings.append(
            f"time point {listed}: its place in time cannot be told from the name, so it is compared with no other; "
            "give the order in timepoints.csv (timepoint, order)"
        )
    for rank in (1, 2):
        kinds = sorted({at.kind for at in places.values() if at.rank == rank})
        if len(kinds) > 1:
            mixed = {name for name, at in places.items() if at.rank == rank}
            unknown |= mixed
            if mixed & missed:
                warnings.append(
                    f"time points {_listed(mixed)} are counted in different ways, so their order cannot be told and "
                    "they are compared with no other; give the order in timepoints.csv (timepoint, order)"
                )
    warnings += _same_place(places, unknown)
    ordered = sorted(names, key=lambda name: (name in unknown, places[name].rank, places[name].number, name))
    return Order(tuple(ordered), frozenset(unknown), tuple(warnings))


def _same_place(places: Mapping[str, Place], unknown: set[str]) -> list[str]:
    """Take two names of one place (c3, C 3) out of all comparisons: a specimen may have been split between them."""
    by_place: dict[Place, list[str]] = {}
    for name, at in places.items():
        if name not in unknown:
            by_place.setdefault(Place(at.rank, "" if at.rank == 0 else at.kind, at.number), []).append(name)
    warnings = []
    for twins in by_place.values():
        if len(twins) > 1:
            warnings.append(
                f"time points {_listed(twins)} seem to be the same; slides under different names are not added up: "
                "use one name in slides.csv"
            )
    return warnings


def _as_given(names: list[str], given: Mapping[str, float], missed: set[str]) -> Order:
    unknown = {name for name in names if name not in given}
    warnings = []
    if unknown & missed:
        warnings.append(
            f"time point {_listed(unknown & missed)} is not in timepoints.csv, so it is compared with no other; "
            "add it there"
        )
    by_name = sorted((name for name in names if name in given and place(name).rank < 3), key=lambda n: given[n])
    for earlier, later in itertools.pairwise(by_name):
        before, after = place(earlier), place(later)
        comparable = before.kind == after.kind or before.rank != after.rank
        if comparable and (before.rank, before.number) > (after.rank, after.number):
            warnings.append(
                f"timepoints.csv puts {one_line(earlier)!r} before {one_line(later)!r}, their names say otherwise; "
                "the table is followed"
            )
    equal: dict[float, list[str]] = {}
    for name in names:
        if name in given:
            equal.setdefault(given[name], []).append(name)
    for twins in equal.values():
        if len(twins) > 1:
            unknown |= set(twins)
            warnings.append(
                f"timepoints.csv gives {_listed(twins)} the same place, so they are compared with no other; "
                "give each its own number"
            )
    ordered = sorted(names, key=lambda name: (name not in given, given.get(name, 0.0), name))
    return Order(tuple(ordered), frozenset(unknown), tuple(warnings))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(one_line(name)) for name in sorted(names))
