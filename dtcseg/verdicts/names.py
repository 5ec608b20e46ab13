"""Readers' names, and the names of their files.

Two spellings of one name must not become two readers who agree with each other, and two names must not share a file:
so a reader is told by the name in lower case with single spaces, and a file name that had to be simplified carries a
piece of that name's hash.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from dtcseg.errors import VerdictError

if TYPE_CHECKING:
    from dtcseg.verdicts.terms import Role

LOG_SUFFIX = ".jsonl"
HEAD_SUFFIX = ".head.json"
TORN_SUFFIX = ".torn"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_LONGEST = 200
_DEVICES = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")  # no file of Windows may be called so, whatever its suffix


def clean_name(reader: str) -> str:
    """Write a reader's name with single spaces and composed letters.

    Raises
    ------
    VerdictError
        The name is empty or longer than 200 characters.
    """
    name = " ".join(unicodedata.normalize("NFC", reader).split())
    if not name or len(name) > _LONGEST:
        raise VerdictError("a reader needs a name of 1 to 200 characters; give the name or initials of who reads")
    return name


def same_reader(one: str, other: str) -> bool:
    """Tell whether two names are one reader's: capitals and spaces make no difference."""
    return _identity(one) == _identity(other)


def log_stem(reader: str, role: Role) -> str:
    """Make the name of a reader's file, without its suffix; safe on every file system, and never shared by two names.

    Parameters
    ----------
    reader : str
        Name as typed.
    role : {"read", "adjudication"}
    """
    identity = _identity(reader)
    stem = identity
    if not _PLAIN.fullmatch(identity) or _DEVICES.fullmatch(identity):
        ascii_name = unicodedata.normalize("NFKD", identity).encode("ascii", "ignore").decode("ascii")
        simple = re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:32] or "reader"
        stem = f"{simple}-{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"
    return f"{stem}.adjudication" if role == "adjudication" else stem


def _identity(reader: str) -> str:
    return clean_name(clean_name(reader).casefold())
