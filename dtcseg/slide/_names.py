"""Which fluorescence channel is which, by its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dtcseg.errors import UnsuitableSlide

if TYPE_CHECKING:
    from collections.abc import Sequence

ChannelRole = Literal["nuclear", "cytokeratin", "leukocyte"]

# Whole words of a name in lower case, its separators made one space (see `_words`); so "ck" never matches in "back".
# Letters and digits are kept together: "CK8/18" gives "ck8 18", "AE1/AE3" gives "ae1 ae3".
_PATTERNS: dict[ChannelRole, re.Pattern[str]] = {
    "nuclear": re.compile(
        r"\b(dapi ?\d*|hoechst( ?3\d{4})?|h ?3334[28]|h ?33258|draq ?[57]|sytox|syto ?\d+|nuc|nuclei|nuclear|nucleus|"
        r"dna|propidium|to ?pro ?3|7 ?aad)\b"
    ),
    "cytokeratin": re.compile(
        r"\b((pan ?)?(ck|pck|cks|cytokeratins?|keratins?|krt)( ?\d{1,2}\w?)?|pan ?(ck|cytokeratin|keratin)s?|panck|"
        r"ae ?1|ae ?3|ae1ae3|a45 ?b ?b3|a45|cam ?5 ?2|mnf ?116|ks ?pan|krt\d{1,2}\w?|ck\d{1,2}\w?)\b"
    ),
    "leukocyte": re.compile(r"\b(cd ?45(r[abo])?|ptprc|lca|leu[ck]ocytes?|leukocyte common antigen)\b"),
}
_NAMES_OF_ROLES: dict[ChannelRole, str] = {
    "nuclear": "nuclear (DAPI, Hoechst)",
    "cytokeratin": "cytokeratin (CK, pan-CK, AE1/AE3)",
    "leukocyte": "leukocyte (CD45)",
}
_LISTED = 12
_REMEDY = (
    "name the channels in the channel column of slides.csv: one a file where each is a file of its own, else all in "
    "the order of the file, separated by |, for instance DAPI|CK|CD45"
)


def match_channels(names: Sequence[str], *, path: Path = Path("slide")) -> dict[ChannelRole, int]:
    """Find the nuclear, the cytokeratin and, where there is one, the leukocyte channel.

    Case and separators do not matter; a word must match as a whole.

    Parameters
    ----------
    names : sequence of str
        Channel names in the order of the file.
    path : Path, optional
        The file the error names.

    Returns
    -------
    dict of role to index into `names`
        Always with "nuclear" and "cytokeratin".

    Raises
    ------
    UnsuitableSlide
        The nuclear or the cytokeratin channel is missing, or a role fits several channels, or one channel several
        roles; the message lists the channels.
    """
    listed = ", ".join(f"'{name}'" for name in names[:_LISTED]) or "none"
    if len(names) > _LISTED:
        listed += f" and {len(names) - _LISTED} more"
    matched: dict[ChannelRole, int] = {}
    for role, found in _candidates(names).items():
        if len(found) > 1:
            which = " and ".join(f"'{names[index]}'" for index in found)
            raise UnsuitableSlide(
                path, f"the {_NAMES_OF_ROLES[role]} channel is ambiguous: {which} (channels: {listed}); {_REMEDY}"
            )
        if found:
            matched[role] = found[0]
    for role in ("nuclear", "cytokeratin"):
        if role not in matched:
            raise UnsuitableSlide(path, f"no {_NAMES_OF_ROLES[role]} channel among its channels ({listed}); {_REMEDY}")
    if len(set(matched.values())) != len(matched):
        raise UnsuitableSlide(path, f"one channel name fits several stains (channels: {listed}); {_REMEDY}")
    return matched


def role_of(name: str) -> ChannelRole | None:
    """Role of one channel name, None when it fits none or several.

    Parameters
    ----------
    name : str
        As the file or slides.csv gives it.
    """
    fitting = [role for role, pattern in _PATTERNS.items() if pattern.search(_words(name))]
    return fitting[0] if len(fitting) == 1 else None


def _candidates(names: Sequence[str]) -> dict[ChannelRole, list[int]]:
    words = [_words(name) for name in names]
    return {
        role: [index for index, text in enumerate(words) if pattern.search(text)] for role, pattern in _PATTERNS.items()
    }


def _words(name: str) -> str:
    """Lower case, camel case and separators as single spaces, so that word boundaries mean what a reader sees."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z]{2})", " ", name)
    return re.sub(r"[^a-z0-9]+", " ", spaced.casefold()).strip()
