"""The words of the verdict log, after ISHAGE (Borgen 1999) and Naume 2004."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Verdict = Literal["tumour", "probable", "uninterpretable", "haematopoietic", "artefact", "skip"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""What a reader can say of a cell; `skip` means that it was seen and no verdict was given, so it never counts."""

SKIP: Verdict = "skip"

LIKE_TUMOUR: tuple[Verdict, ...] = ("tumour", "probable")
"""What a reader says of what looks like a tumour cell; whether a probable one counts is for the control to say."""

NOT_AN_OBJECT = "not_an_object"
"""What a deleted cell is: the outline holds no cell of its own. An adjudicator can say so too."""

DECISIONS: tuple[str, ...] = (*(word for word in VERDICTS if word != SKIP), NOT_AN_OBJECT)
"""What settles a cell."""

Mark = Literal["", "seeded", "audit"]
MARKS: tuple[Mark, ...] = get_args(Mark)
"""Where a cell came from when it is no candidate of this slide.

`seeded`: a cell of known kind shown to measure attention. `audit`: a nucleus drawn at random to measure what the
program misses. Both are reported and neither is ever counted.
"""

Role = Literal["read", "adjudication"]
ROLES: tuple[Role, ...] = get_args(Role)

FORMAT = "dtcseg verdicts"
VERSION = 1
FIRST_HASH = "0" * 64
"""What stands for the hash before the header."""


@dataclass(frozen=True)
class Shown:
    """What a reader sees while giving verdicts.

    Attributes
    ----------
    order : str
        How the cells were ordered: "score", "uncertainty", "random" …
    calls : bool
        Whether the program's calls and scores were shown.
    verdicts : bool
        Whether other readers' verdicts were shown. A blind second read shows neither.
    """

    order: str = "score"
    calls: bool = True
    verdicts: bool = False
