"""What a person reads after learning: the report as one self-contained page, and the model card."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dtcseg import __version__
from dtcseg.errors import UsageError
from dtcseg.report.uri import data_uri
from dtcseg_training.rendering import render

if TYPE_CHECKING:
    from dtcseg.network.weights import WeightsInfo
    from dtcseg_training.learn.outcome import Comparison, Curve, LearnOutcome

_INK, _ACCENT = "#1b2430", "#b3245f"
_TITLES = {
    "lab": "This laboratory's held-out slides",
    "alike": "Simulated fields like its slides, not learned from",
    "reference": "Locked reference set (simulated)",
}


def learning_page(outcome: LearnOutcome, parent: WeightsInfo, info: WeightsInfo, curves: Sequence[Curve]) -> str:
    """Make the report.

    Parameters
    ----------
    outcome : LearnOutcome
    parent, info : WeightsInfo
        Champion and challenger.
    curves : sequence of Curve

    Raises
    ------
    UsageError
        matplotlib is not installed.
    """
    return render(
        "learning.html.j2",
        outcome=outcome,
        parent=parent,
        info=info,
        comparisons=[_rows(c) for c in outcome.gate.comparisons],
        curve=_curve(curves) if curves else "",
        changed=[(c, data_uri(c.picture)) for c in outcome.changed],
        reviews=info.card.trained_on.get("reviews", {}),
        temperature=(parent.card.temperature, info.card.temperature),
    )


def _rows(found: Comparison) -> tuple[str, list[tuple[str, str, str]]]:
    """Title, and what is compared with its two values."""
    unit = "slide" if found.name == "lab" else "field"
    return f"{_TITLES[found.name]}: {found.units} {unit}{'s' if found.units != 1 else ''}", [
        ("Tumour cells called", str(found.recall[0]), str(found.recall[1])),
        ("Other objects called tumour", str(found.false_calls[0]), str(found.false_calls[1])),
        ("Calls that only this one has right", str(found.lost), f"{found.gained} (McNemar p = {found.p_value:.2g})"),
        ("… tumour cells among them", str(found.tumour_lost), str(found.tumour_gained)),
        (
            f"Mean recall at 1/4 to 8 false candidates a {unit} (FROC)",
            f"{100 * found.froc[0]:.1f} %",
            f"{100 * found.froc[1]:.1f} % ({_change(found.froc_change)})",
        ),
        ("Change of the recall", "", _change(found.recall_change)),
    ]


def _change(values: tuple[float, float, float]) -> str:
    value, low, high = (100 * v for v in values)
    return f"{value:+.1f} points, 95 % {low:+.1f} to {high:+.1f}"


def _curve(curves: Sequence[Curve]) -> str:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib; install it with: pip install 'dtcseg[train]'") from error
    figure = Figure(figsize=(6.2, 2.8), layout="constrained")
    axes = figure.add_subplot()
    steps = [c.step for c in curves]
    axes.plot(steps, [c.learned for c in curves], color=_ACCENT, label="learned from (outlines and calls)")
    axes.plot(steps, [c.aside for c in curves], color=_INK, label="simulated, not learned from (calls)")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def card_text(outcome: LearnOutcome, parent: WeightsInfo, info: WeightsInfo) -> str:
    """Write the model card that lies beside the weights."""
    data, gate = outcome.data, outcome.gate
    cells = ", ".join(f"{count} {call}" for call, count in data.cells.items())
    overridden = info.card.figures.get("overridden")
    lines = [
        f"# Model card: {_plain(info.name)}",
        "",
        "**Research use only.** Not a medical device; a pathologist has to look at what it finds.",
        "",
    ]
    if isinstance(overridden, list) and overridden:
        lines += ["## The gate was overridden", ""]
        lines += [f"- **{_plain(str(line))}**" for line in overridden] + [""]
    lines += [
        "## What it is",
        f"`{_plain(parent.name)}` (sha256 `{parent.sha256}`) with a second look of its own for slides stained like "
        f"those of one laboratory, by dtcseg {__version__}; other slides are seen as before. This file: sha256 "
        f"`{info.sha256}`.",
        "",
        "## What it learned from",
        f"- {cells}; {data.slides} slides, {data.patients} named patients; {data.added} cells drawn by readers, "
        f"{data.corrected} with corrected outlines, {data.deleted} said to be no object.",
        f"- {data.from_controls} of them lie on control slides, which hold no tumour cell, and nobody spoke of them.",
        f"- {data.held_out} of these cells, on whole slides (split by {data.split_by}), were not learned from.",
        f"- Training set: manifest sha256 `{data.sha256}`. Crops of simulated fields that look like these slides were "
        "learned beside them.",
        "",
        "## How it was judged",
        f"- {_plain(gate.reason)}.",
    ]
    for title, rows in map(_rows, gate.comparisons):
        lines += ["", f"### {title}", "", f"| | {_plain(parent.name)} | {_plain(info.name)} |", "|---|---|---|"]
        lines += [f"| {name} | {was} | {now} |" for name, was, now in rows]
    lines += ["", "## Operating point", f"{outcome.threshold.text}.", ""]
    if gate.warnings or data.left_out:
        lines += ["## To be known", *(f"- {_plain(line)}" for line in (*gate.warnings, *data.left_out)), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Keep names of people and files from acting as Markdown or HTML."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)
