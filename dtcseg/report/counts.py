"""The cells of a slide by what counts: the readers' word where there is one, else the program's call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dtcseg.errors import VerdictError
from dtcseg.results.text import one_line
from dtcseg.verdicts.terms import LIKE_TUMOUR, SKIP

if TYPE_CHECKING:
    from dtcseg.results.record import SlideRecord
    from dtcseg.verdicts.consensus import Consensus, OtherCell

Reviewed = Literal["no", "in progress", "yes", "signed off"]

UNSETTLED = "unsettled"
"""A cell on which readers differ, or that was looked at and left without a verdict. It counts as nothing."""


@dataclass(frozen=True)
class SlideCounts:
    """Cells of a slide after review.

    Attributes
    ----------
    tumour, probable, uninterpretable, haematopoietic, artefact : int
    unsettled : int
        Cells that readers saw and did not settle; not counted.
    unread : int
        Cells that count as tumour cells by the program's call alone.
    reviewed : Reviewed
    readers : tuple of str
    words : dict of str to str
        What counts for each cell that a reader spoke of, by uuid; "" for one that is no object.
    added : tuple of (str, float, float)
        Word, x and y in level-0 pixels of the cells that readers drew.
    seeded, audited : (int, int)
        Called a tumour cell or a probable one, and judged, over all readers: of the known tumour cells shown to measure
        attention, and of the nuclei drawn at random to measure what the program misses. Counted in nothing.
    searched : (int, int, int)
        Tumour cells that the program called, that blind readers said, and both, of those that were adjudicated; 0 on a
        slide without an adjudication or without a blind reader.
    """

    tumour: int
    probable: int = 0
    uninterpretable: int = 0
    haematopoietic: int = 0
    artefact: int = 0
    unsettled: int = 0
    unread: int = 0
    reviewed: Reviewed = "no"
    readers: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    added: tuple[tuple[str, float, float], ...] = ()
    seeded: tuple[int, int] = (0, 0)
    audited: tuple[int, int] = (0, 0)
    searched: tuple[int, int, int] = (0, 0, 0)

    @property
    def like_tumour(self) -> int:
        """Cells that meet the criteria of a tumour cell or a probable one: what a control is judged by."""
        return self.tumour + self.probable


def program_counts(record: SlideRecord) -> SlideCounts:
    """Take the program's calls as they are."""
    calls = record.calls
    return SlideCounts(
        tumour=record.tumour,
        uninterpretable=calls.get("uninterpretable", 0),
        haematopoietic=calls.get("haematopoietic", 0),
        artefact=calls.get("artefact", 0),
        unread=record.tumour,
    )


def count_slides(root: Path, records: Iterable[SlideRecord]) -> tuple[dict[str, SlideCounts], list[str]]:
    """Count the cells of every slide, and say what is wrong with verdicts."""
    counts: dict[str, SlideCounts] = {}
    warnings: list[str] = []
    for record in records:
        counts[record.slide] = program_counts(record)
        folder = root / record.slide / "verdicts"
        if not folder.is_dir() or not any(folder.iterdir()):
            continue  # the common case: thousands of slides without a word
        from dtcseg.verdicts.consensus import review

        try:
            said = review(root / record.slide)
        except VerdictError as error:
            warnings.append(f"slide {one_line(record.slide)}: its verdicts are not used: {one_line(error)}")
            continue
        counts[record.slide] = counts_of(said)
        warnings += _remarks(said)
    return counts, warnings


def counts_of(said: Consensus) -> SlideCounts:
    """Count what counts after review."""
    words = {}
    tally: Counter[str] = Counter()
    unread = 0
    for one in said.cells:
        if one.basis == "superseded":
            word = ""
        elif one.basis in ("unresolved", "skipped"):
            word = UNSETTLED
        elif one.basis == "unread":
            word = one.cell.call
            unread += word == "tumour"
        else:
            word = one.verdict
        tally[word] += 1
        if one.basis != "unread":
            words[one.cell.id] = word
    words |= {one.cell.id: "" for one in said.deleted}
    return SlideCounts(
        **{word: tally[word] for word in ("tumour", "probable", "uninterpretable", "haematopoietic", "artefact")},
        unsettled=tally[UNSETTLED],
        unread=unread,
        reviewed=_reviewed(said),
        readers=tuple(reader.reader for reader in (*said.readers, *said.adjudicators)),
        words=words,
        added=tuple((one.verdict, one.cell.x_px, one.cell.y_px) for one in said.cells if one.added and one.verdict),
        seeded=_recognised(said.seeded),
        audited=_recognised(said.audit),
        searched=_searched(said),
    )


def _recognised(cells: Iterable[OtherCell]) -> tuple[int, int]:
    says = [one.state.say for one in cells]
    judged = [say for say in says if say not in ("", SKIP)]
    return sum(say in LIKE_TUMOUR for say in judged), len(judged)


def _searched(said: Consensus) -> tuple[int, int, int]:
    """Two searches of the same cells, neither knowing of the other: the program's, and that of the blind readers."""
    blind = {reader.reader for reader in said.readers if reader.blind and reader.status in ("complete", "signed_off")}
    if not blind or said.status != "adjudicated":
        return 0, 0, 0
    true = [one for one in said.cells if one.verdict in LIKE_TUMOUR]
    program = [one.cell.call == "tumour" and not one.added for one in true]
    reader = [any(say.reader in blind and say.say in LIKE_TUMOUR for say in one.says) for one in true]
    return sum(program), sum(reader), sum(p and r for p, r in zip(program, reader, strict=True))


def reviewed_together(parts: Iterable[Reviewed]) -> Reviewed:
    """Say how far the review of several slides is: no further than that of the slide that is furthest behind."""
    seen = set(parts)
    if not seen or seen == {"no"}:
        return "no"
    if seen & {"no", "in progress"}:
        return "in progress"
    return "signed off" if seen == {"signed off"} else "yes"


def _reviewed(said: Consensus) -> Reviewed:
    if said.status == "unreviewed":
        return "no"
    if said.status == "in_progress":
        return "in progress"
    begun = {reader.status for reader in said.readers} - {"unreviewed"}
    return "signed off" if begun == {"signed_off"} else "yes"


def _remarks(said: Consensus) -> list[str]:
    name = one_line(said.slide)
    remarks = []
    lost = sum(not other.said_since for other in said.unattached)
    if lost:
        verdicts = "1 verdict is on a cell" if lost == 1 else f"{lost} verdicts are on cells"
        remarks.append(
            f"slide {name}: {verdicts} that the slide no longer has since it was scored again; look in review"
        )
    for reader in said.readers:
        if reader.scored_again:
            remarks.append(f"slide {name}: was scored again after {one_line(reader.reader)} signed it off")
    unresolved = len(said.unresolved)
    if unresolved:
        remarks.append(
            f"slide {name}: readers differ on {unresolved} cell{'s' * (unresolved > 1)}; not counted until adjudicated"
        )
    return remarks
