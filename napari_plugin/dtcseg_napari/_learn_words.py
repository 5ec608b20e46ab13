"""What the dock "Learn" says: verdicts there are, time left, and the gate's outcome in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtcseg.verdicts.terms import LIKE_TUMOUR

if TYPE_CHECKING:
    from dtcseg_training.learn import ChangedCell, Comparison, LearnOutcome

    from dtcseg.review.ask_results import AskList

_LEAST, _LEAST_EACH, _GOOD = 20, 5, 200
_LEAST_PATIENTS = 4
"""docs/learning.md: whole patients are kept back to judge by."""
_CALLS = {
    "tumour": "tumour cell",
    "uninterpretable": "uninterpretable",
    "haematopoietic": "haematopoietic",
    "artefact": "artefact",
}


def verdicts_text(found: AskList) -> tuple[str, bool]:
    """Say how many verdicts there are and whether that is enough to begin; whether it is."""
    t = found.taught
    total = t.tumour + t.others
    on = f"on {_number(t.slides, 'slide')} of {_number(t.patients, 'patient')}"
    have = f"{total} cells with a verdict ({t.tumour} tumour, {t.others} other) {on}."
    if total < _LEAST or min(t.tumour, t.others) < _LEAST_EACH:
        need = f"read at least {_LEAST} cells, {_LEAST_EACH} of them tumour cells and {_LEAST_EACH} others."
        return f"{have}\nToo few to learn from: {need}", False
    if t.patients < _LEAST_PATIENTS:
        why = f"Cells of at least {_LEAST_PATIENTS} patients are needed, since some are kept back to judge by."
        return f"{have}\n{why} Name the patients in slides.csv, or read slides of more of them.", True
    if found.enough.enough:
        return f"{have}\n{sentence(found.enough.text)}.", True
    if total < _GOOD:
        return f"{have}\nEnough to begin; {_GOOD} teach more. {sentence(found.enough.text)}.", True
    return f"{have}\n{sentence(found.enough.text)}.", True


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def sentence(text: str) -> str:
    """Begin with a capital."""
    return text[:1].upper() + text[1:]


def left_text(seconds: float | None) -> str:
    """Say how long it may still take."""
    if seconds is None:
        return "measuring how long it will take …"
    if seconds < 90:
        return f"about {max(round(seconds / 10) * 10, 10)} seconds left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes left"
    return f"about {seconds / 3600:.1f} hours left"


def headline(outcome: LearnOutcome) -> str:
    """Say in one line what came of it."""
    if outcome.promoted:
        return "The new weights are better on your own slides, and no worse on the reference set."
    if outcome.weights is not None:
        return "The new weights were refused, and written all the same."
    return "The new weights are not better, so the old ones stay."


def outcome_lines(outcome: LearnOutcome) -> list[str]:
    """Say what the gate found, one plain sentence or two a line."""
    lines = [outcome.reason]
    if outcome.gate.lab is not None:
        lines.append(f"On your own slides that were kept back: {_compared(outcome.gate.lab)}")
    else:
        lines.append("None of your slides could be kept back, so nothing was measured on your own cells.")
    if outcome.gate.alike is not None:
        lines.append(f"On simulated slides like yours: {_compared(outcome.gate.alike)}")
    lines.append(f"On slides of other laboratories (the fixed reference set): {_compared(outcome.gate.reference)}")
    lines.append(outcome.threshold.text)
    lines += [f"Note: {text}" for text in (*outcome.gate.warnings, *outcome.data.left_out[:5])]
    more = len(outcome.data.left_out) - 5
    return [*lines, f"Note: {more} more are in the report."] if more > 0 else lines


def _compared(found: Comparison) -> str:
    (found_before, found_now), (wrong_before, wrong_now) = found.recall, found.false_calls
    return (
        f"of {found_now.total} tumour cells {found_before.count} were found before, {found_now.count} now; of "
        f"{wrong_now.total} others {wrong_before.count} were called tumour before, {wrong_now.count} now."
    )


def changed_title(cell: ChangedCell) -> str:
    """Line under the picture of a cell whose call changed."""
    return f"{'+' if is_right(cell) else '-'} now {_CALLS.get(cell.after, cell.after)}"


def changed_hint(cell: ChangedCell) -> str:
    """Everything about a cell whose call changed."""
    kept = "kept back from learning" if cell.held_out else "learned from"
    truth = f"readers: {cell.verdict}" if cell.said else "on a control slide, which holds no tumour cell"
    return (
        f"{cell.slide}\n{truth}\nbefore: {cell.before} ({cell.score_before:.2f})\n"
        f"now: {cell.after} ({cell.score_after:.2f})\n{kept}"
    )


def is_right(cell: ChangedCell) -> bool:
    """Whether the new call is the readers' (tumour or not), or a control slide's."""
    return (cell.after == "tumour") == (cell.verdict in LIKE_TUMOUR)
