"""A learner that stands in for `dtcseg_training.learn.run.learn`: quick, exact, importable by name in another process.

The name of the first results folder says what happens to it.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from dtcseg_training.figures import Share
from dtcseg_training.learn import (
    ChangedCell,
    Comparison,
    Curve,
    GateResult,
    LabThreshold,
    LearnOutcome,
    LearnProgress,
    SetSummary,
    Stopped,
)
from PIL import Image

from dtcseg.errors import UsageError
from dtcseg.network.weights import ARCHITECTURE, Card, resolve, save

CELLS = {"tumour": 60, "artefact": 80}


def learn(
    results: Sequence[Path],
    out: Path,
    *,
    progress: Callable[[LearnProgress], None],
    stop: Callable[[], bool],
) -> LearnOutcome:
    name = Path(results[0]).name
    mark = Path(results[0]) / "begun"
    again = mark.exists()
    mark.touch()
    if name.startswith("empty"):
        raise UsageError("there is no verdict to learn from; read some cells first")
    if name.startswith("bug"):
        raise ZeroDivisionError("a fault\nof the program")
    if name.startswith("crash"):
        os._exit(3)
    curves: list[Curve] = []
    for step in range(30):
        curves.append(Curve(step, 1 / (step + 1), 0.3 + 0.001 * step))
        progress(LearnProgress("fit", f"step {step + 1} of 30", (step + 1) / 32, 60.0 - 2 * step, tuple(curves)))
        if stop():
            raise Stopped
        time.sleep(0.02)
        while name.startswith("slow") and not again and step == 3:
            progress(LearnProgress("fit", "waiting to be stopped", 0.1, 50.0, tuple(curves)))
            if stop():
                raise Stopped
            time.sleep(0.02)
    return outcome(out, promoted=not name.startswith("refused"))


def picture(colour: tuple[int, int, int]) -> bytes:
    y, x = np.mgrid[:64, :64] - 32
    pixels = np.full((64, 64, 3), 236, np.uint8)
    pixels[x**2 + y**2 < 400] = colour
    pixels[x**2 + y**2 < 120] = (90, 70, 150)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def changed(number: int, right: bool) -> ChangedCell:
    before, after = ("haematopoietic", "tumour") if number % 2 else ("tumour", "haematopoietic")
    verdict = after if right else before
    colour = (200, 60 + 5 * number, 120)
    return ChangedCell(
        f"slide {number % 3}",
        str(number),
        10.0,
        20.0,
        verdict,
        True,
        before,
        after,
        0.2,
        0.9,
        number % 2 == 0,
        picture(colour),
    )


def outcome(out: Path, *, promoted: bool) -> LearnOutcome:
    def compared(name: str, before: int, now: int) -> Comparison:
        return Comparison(
            name=name,  # type: ignore[arg-type]
            units=4,
            recall=(Share(before, 60), Share(now, 60)),
            false_calls=(Share(9, 80), Share(3, 80)),
            gained=14,
            lost=2,
            p_value=0.004,
            tumour_gained=9,
            tumour_lost=1,
            froc=(0.7, 0.85),
            froc_change=(0.15, 0.05, 0.25),
            recall_change=(0.1, 0.02, 0.2),
        )

    import torch  # late: most tests of a window end before weights are written

    from dtcseg.network.model import Look, Screen

    torch.manual_seed(4)
    challenger = out.parent / "dtcseg-learn" / "challenger.safetensors"
    challenger.parent.mkdir(parents=True, exist_ok=True)
    gate = "recall is higher and false calls are fewer" if promoted else "recall on the reference set is lower"
    card = Card("ours", ARCHITECTURE, 0.4, 0.2, 0.5, 1, 0.01, parent=resolve().sha256, figures={"gate": gate})
    sha256 = save(challenger, Screen(), Look(), card)
    if promoted:
        out.write_bytes(challenger.read_bytes())
    report = out.with_suffix(".html")
    report.write_text("<p>report")
    return LearnOutcome(
        promoted=promoted,
        forced=False,
        reason=gate,
        weights=out if promoted else None,
        challenger=challenger,
        report=report,
        card=None,
        sha256=sha256,
        data=SetSummary(
            out.parent,
            "5" * 64,
            {"tumour": 60, "artefact": 80},
            6,
            5,
            1,
            2,
            0,
            40,
            0,
            ("slide 9: its file is gone",),
            "patient",
        ),
        gate=GateResult(
            promoted,
            gate,
            compared("lab", 44, 55),
            compared("reference", 58, 58 if promoted else 57),
            alike=compared("alike", 41, 53),
        ),
        threshold=LabThreshold(
            0.42,
            "lab",
            Share(55, 60),
            Share(3, 80),
            30_000,
            (12.0, 4.0, 30.0),
            "A cell is called tumour from score 0.42: 55 of 60 of yours, and about 12 false calls per 10^6 cells.",
        ),
        changed=tuple(changed(number, number not in (2, 5)) for number in range(12)),
        seconds=61.0,
    )
