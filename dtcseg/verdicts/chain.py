"""Lines that are chained by their hashes.

A line is the canonical JSON of an entry (ASCII, keys sorted, no spaces) whose last member is `hash`: the SHA-256 of
the same JSON without that member. Each entry but the first holds, as `prev`, the hash of the one before. Checking a
line needs no parser, and no rounding of numbers can make two programs disagree: cut off the last member, close the
brace, hash the bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_TAIL_START = b',"hash":"'
_TAIL_LENGTH = len(_TAIL_START) + 64 + len(b'"}')
_NUL = b"\0"


class BrokenLine(ValueError):
    """A line is not what was written; the text says how."""


def seal(values: Mapping[str, Any]) -> tuple[bytes, str]:
    """Make the line of an entry, without its line feed, and its hash.

    Raises
    ------
    ValueError
        A number is not finite, or a member is called `hash`, which only this function writes.
    """
    if "hash" in values:
        raise ValueError("an entry cannot bring its own hash")
    body = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
    digest = hashlib.sha256(body).hexdigest()
    return b"%s%s%s" % (body[:-1], _TAIL_START, digest.encode("ascii")) + b'"}', digest


def unseal(line: bytes) -> tuple[dict[str, Any], str]:
    """Read a line, checked against its own hash.

    Returns
    -------
    values : dict
        Members without `hash`.
    digest : str

    Raises
    ------
    BrokenLine
        It is not what was written.
    """
    body, tail = line[:-_TAIL_LENGTH] + b"}", line[-_TAIL_LENGTH:]
    if not (line.startswith(b"{") and tail.startswith(_TAIL_START) and tail.endswith(b'"}')):
        raise BrokenLine("is not an entry of a verdict log (altered, or joined with the next)")
    digest = tail[len(_TAIL_START) : -2].decode("ascii", "replace")
    if hashlib.sha256(body).hexdigest() != digest:
        raise BrokenLine("entry altered: its content does not have the hash it carries")
    try:
        values = json.loads(body)
    except ValueError as error:  # the hash is right, so another program wrote it
        raise BrokenLine("is not an entry of a verdict log (no JSON)") from error
    if not isinstance(values, dict):
        raise BrokenLine("is not an entry of a verdict log (no JSON object)")
    return values, digest


def split_lines(content: bytes) -> tuple[list[bytes], bytes]:
    r"""Split a file into its whole lines and the torn rest behind the last line feed.

    A last line that ends well but holds zero bytes counts as torn: a file system that lost power after it had made room
    for a line leaves such blocks, and JSON never holds them.
    """
    *lines, torn = content.split(b"\n")
    if not torn and lines and _NUL in lines[-1]:
        torn = lines.pop() + b"\n"
    return lines, torn
