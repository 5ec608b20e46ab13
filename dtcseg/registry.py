"""The weights of a laboratory: taken into use, listed, shown, and given up again.

Released weights come with dtcseg and stay as they are; weights trained here are copied into the laboratory's folder
(`dtcseg.network.history`), so that nobody changes what is in use by writing over a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dtcseg.errors import UsageError
from dtcseg.network.history import (
    KNOWN_SUFFIX,
    Line,
    append,
    own_folder,
    own_names,
    read_history,
    standing,
    stored,
)
from dtcseg.network.laboratory import laboratories_of
from dtcseg.network.weights import Card, WeightsInfo, load, load_looks, released_weights, resolve
from dtcseg.results.atomic import write_file, writing_to
from dtcseg.results.text import one_line

_NAME = re.compile(r"[^A-Za-z0-9._+-]+")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Known:
    """Weights that this installation knows.

    Attributes
    ----------
    name : str
    sha256 : str
    released : bool
        They came with dtcseg.
    in_use : bool
        `score` takes them when no others are asked for.
    since : str
        When they were last taken into use, UTC; empty if nobody ever chose them.
    info : WeightsInfo or None
        None where they cannot be used any more.
    problem : str
        Why not, one line.
    """

    name: str
    sha256: str
    released: bool
    in_use: bool
    since: str
    info: WeightsInfo | None
    problem: str = ""


@dataclass(frozen=True)
class Change:
    """What is in use after a change, and what was before; `changed` is False where that is the same."""

    now: WeightsInfo
    before: str
    since: str
    changed: bool = True


def list_weights(folder: Path | None = None) -> tuple[Known, ...]:
    """List released weights, then the laboratory's own in the order in which they were first used.

    Raises
    ------
    UsageError
        The index or the history cannot be read.
    """
    folder = folder or own_folder()
    history = read_history(folder)
    default, released = released_weights()
    uses = standing(history)
    current = uses[-1].sha256 if uses else released[default][1]
    entries = [(name, sha256, True) for name, (_, sha256) in released.items()]
    entries += [(name, sha256, False) for name, sha256 in own_names(history).items()]
    return tuple(_known(name, sha256, is_released, current, history) for name, sha256, is_released in entries)


def in_use() -> Known:
    """Tell what `score` takes when no weights are asked for.

    Raises
    ------
    UsageError
        They are not here any more; the text says what to do.
    """
    info = resolve()
    found = next((known for known in list_weights() if known.sha256 == info.sha256), None)
    if found is None:
        raise UsageError("the weights in use were changed just now; look again")
    return replace(found, info=info)


def find(model: str = "") -> Known:
    """Find weights by name, hash or file, with what the history says of them.

    Raises
    ------
    UsageError
        As `dtcseg.network.weights.resolve`.
    """
    info = resolve(model)
    for known in list_weights():
        if known.sha256 == info.sha256:
            return replace(known, info=info)
    return Known(info.name, info.sha256, released=False, in_use=False, since="", info=info)


def use(model: str, folder: Path | None = None) -> Change:
    """Take weights into use: from now on `score` takes them when no others are asked for.

    Parameters
    ----------
    model : str
        As `dtcseg.network.weights.resolve`; a file is copied into the laboratory's folder.
    folder : Path, optional

    Raises
    ------
    UsageError
        They cannot be used: another architecture, damaged, a pickle, not what the index says.
    OutputError
        The laboratory's folder cannot be written.
    """
    folder = folder or own_folder()
    info = resolve(model)
    check(info)
    history = read_history(folder)
    default, released = released_weights()
    uses = standing(history)
    before = uses[-1].name if uses else default
    if uses and uses[-1].sha256 == info.sha256:
        return Change(replace(info, name=before), before, uses[-1].when, changed=False)
    name = next((name for name, (_, sha256) in released.items() if sha256 == info.sha256), "")
    if not name:
        name = _own_name(info, own_names(history), released)
        _keep(info, folder)
    line = append(folder, "use", name, info.sha256, released=name in released, after=len(history))
    return Change(resolve(info.sha256), before, line.when)


def rollback(folder: Path | None = None) -> Change:
    """Go back to what was in use before; what is in use now need not be there any more.

    Raises
    ------
    UsageError
        Nothing was in use before, or it cannot be used any more.
    OutputError
        The laboratory's folder cannot be written.
    """
    folder = folder or own_folder()
    history = read_history(folder)
    uses = standing(history)
    if not uses:
        raise UsageError("the released weights are in use, and nothing was before them")
    earlier = uses[-2] if len(uses) > 1 else None
    try:
        info = resolve(f"sha256:{earlier.sha256}" if earlier else released_weights()[0])
        check(info)
    except UsageError as error:
        raise UsageError(f"{error}; or choose others with `dtcseg weights use NAME`") from error
    name, sha256, released = (earlier.name, earlier.sha256, earlier.released) if earlier else ("", "", True)
    line = append(folder, "rollback", name, sha256, released=released, after=len(history))
    return Change(info, uses[-1].name, line.when)


def check(info: WeightsInfo) -> None:
    """Load weights as scoring would, and see that no number in them is broken. Loads torch.

    Raises
    ------
    UsageError
        The arrays do not fit the networks, or hold infinite values or none.
    """
    for network in (*load(info), *load_looks(info)):
        for name, values in network.state_dict().items():
            if not bool(values.isfinite().all()):
                raise UsageError(
                    f"weights {one_line(info.path.name)} are damaged: {name} holds values that are no numbers; copy "
                    "the file again from where it came from"
                )


def _known(name: str, sha256: str, released: bool, current: str, history: tuple[Line, ...]) -> Known:
    since = next((line.when for line in reversed(history) if line.sha256 == sha256), "")
    try:
        info, problem = resolve(f"sha256:{sha256}"), ""
    except UsageError as error:
        info, problem = None, str(error)
    return Known(name, sha256, released, sha256 == current, since, info, problem)


def _own_name(info: WeightsInfo, own: Mapping[str, str], released: Mapping[str, object]) -> str:
    """Name for the laboratory's list: that of the card; where it is taken by other weights, with a part of the hash."""
    known = next((name for name, sha256 in own.items() if sha256 == info.sha256), "")
    if known:
        return known
    name = _NAME.sub("-", info.card.name.removesuffix(".safetensors"))[:_LONGEST_NAME].strip("-.") or "weights"
    return f"{name}-{info.sha256[:8]}" if name in own or name in released else name


def _keep(info: WeightsInfo, folder: Path) -> None:
    """Copy a file into the laboratory's folder, under its hash."""
    place = stored(folder, info.sha256)
    if place == info.path:
        return
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(place, info.path.read_bytes())
        known = info.path.with_name(info.path.stem + KNOWN_SUFFIX)
        if known.is_file():  # what they know beyond those that they began with (`dtcseg.drift.reference`)
            write_file(folder / f"{info.sha256}{KNOWN_SUFFIX}", known.read_bytes())


def essentials(known: Known) -> list[tuple[str, str]]:
    """Say what a person should know of weights, as (what, value) lines.

    Parameters
    ----------
    known : Known
        With `info`.
    """
    info = known.info
    if info is None:
        return [("name", known.name), ("sha256", known.sha256), ("problem", known.problem)]
    card = info.card
    place = "released with dtcseg" if known.released else "this laboratory's own" if known.since else "a file"
    since = f"since {known.since}" if known.since else "the default"
    lines = [
        ("name", known.name),
        ("sha256", info.sha256),
        ("kind", place),
        ("in use", since if known.in_use else f"no; last {since}" if known.since else "no"),
        ("architecture", card.architecture),
        ("fitted from", card.parent or "nothing"),
        ("tumour call from", f"score {card.tumour_threshold:g}"),
    ]
    for laboratory in laboratories_of(card.laboratories):
        lines.append(
            (
                "laboratory",
                f"a look of its own, for slides stained like the {len(laboratory.slides)} that were learned from",
            )
        )
    lines += [("trained on", text) for text in _texts(card.trained_on)] or [("trained on", "its card does not say")]
    lines += [("gate", text) for text in gate_texts(card)]
    lines += [
        ("measured", text)
        for text in _texts({k: v for k, v in card.figures.items() if k not in ("gate", "overridden")})
    ]
    return lines


def gate_texts(card: Card) -> list[str]:
    """Say what the gate said of weights that were learned from reviews; nothing of others.

    Parameters
    ----------
    card : Card
        An override of the gate, of these weights or of any they descend from, comes first.
    """
    overridden = card.figures.get("overridden")
    texts = [f"FORCED: {one_line(text)}" for text in overridden] if isinstance(overridden, list) else []
    gate = card.figures.get("gate")
    return [*texts, one_line(gate)] if gate else texts


def _texts(values: Mapping[str, object]) -> list[str]:
    texts = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{inner} {what}" for inner, what in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(str(inner) for inner in value)
        text = one_line(f"{key.replace('_', ' ')}: {value}")
        texts.append(text if len(text) <= 200 else f"{text[:199]}…")
    return texts
