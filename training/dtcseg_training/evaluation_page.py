"""An evaluation as one self-contained HTML page: figures, plots, and the picture of every miss and every false call."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.crops import draw_place
from dtcseg.errors import UnreadableRegion, UsageError
from dtcseg.network.model import LOOK_MPP_UM
from dtcseg.report.uri import data_uri
from dtcseg.slide import open_slide
from dtcseg.working import plan_grid
from dtcseg_training.figures import (
    FALSE_ALLOWED,
    calibration,
    candidate_recall,
    cells,
    count_agreement,
    f1,
    false_calls,
    false_calls_beside,
    froc,
    froc_at,
    froc_score,
    mean_outline,
    precision,
    recall,
    strata,
)
from dtcseg_training.rendering import render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from dtcseg.network.weights import WeightsInfo
    from dtcseg_training.evaluate import SlideEvaluation

_MOST_PICTURES = 200
_INK, _SOFT, _ACCENT = "#1b2430", "#8a94a3", "#b3245f"


def page(results: Sequence[SlideEvaluation], weights: WeightsInfo) -> str:
    """Make the page.

    Parameters
    ----------
    results : sequence of SlideEvaluation
        Their slides must still be there: the pictures are read from them.
    weights : WeightsInfo

    Raises
    ------
    UsageError
        matplotlib is not installed.
    """
    misses, falses = _pictures(results)
    counted, (iou, boundary_um) = count_agreement(results), mean_outline(results)
    plots = [
        _plot("FROC: recall of candidates", "false candidates per 10⁶ cells", lambda axes: _draw_froc(axes, results)),
        _plot("Scores against truth", "score", lambda axes: _draw_reliability(axes, results)),
        _plot("Nucleated cells", "true cells of a slide", lambda axes: _draw_counts(axes, results)),
    ]
    figures = [
        ("Tumour cells called", str(recall(results))),
        ("Tumour cells among the candidates", str(candidate_recall(results))),
        ("Tumour calls that are right", str(precision(results))),
        ("F1 of tumour calls", f"{f1(results):.3f}"),
        (
            "False tumour calls",
            f"{false_calls(results)} in {cells(results):,} cells, {false_calls_beside(results)} touch a tumour cell",
        ),
        (
            "Recall at " + ", ".join(f"{r:g}" for r in FALSE_ALLOWED) + " false candidates per 10⁶",
            ", ".join(f"{100 * froc_at(results, rate):.1f} %" for rate in FALSE_ALLOWED),
        ),
        ("Mean recall at as many false candidates a slide (CAMELYON16)", f"{100 * froc_score(results):.1f} %"),
        ("Outline overlap (IoU), boundary distance", f"{iou:.3f}, {boundary_um:.2f} µm"),
        (
            "Count error: bias (95 % limits of agreement)",
            f"{_percent(counted.bias)} ({_percent(counted.limits[0])} to {_percent(counted.limits[1])})",
        ),
        (
            "Count error of a slide: mean, greatest; Lin's concordance",
            f"{_percent(counted.mean_abs, '')}, {_percent(counted.max_abs, '')}; "
            + (f"{counted.concordance:.4f}" if np.isfinite(counted.concordance) else "-"),
        ),
        ("Calibration error (ECE)", f"{calibration(results).ece:.3f}"),
    ]
    return render(
        "evaluation.html.j2",
        weights=weights,
        slides=results,
        figures=figures,
        plots=plots,
        strata=strata(results),
        misses=misses,
        falses=falses,
    )


def _percent(share: float, sign: str = "+") -> str:
    return f"{100 * share:{sign}.2f} %" if np.isfinite(share) else "-"


def _pictures(results: Sequence[SlideEvaluation]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Pictures of tumour cells that were not called, and of what was called and is none, with their captions."""
    misses: list[dict[str, str]] = []
    falses: list[dict[str, str]] = []
    for result in results:
        lost = [c for c in result.tumour if not c.called]
        wrong = [o for o in result.others if o.called]
        if not lost and not wrong:
            continue
        with open_slide((result.file,), mpp_um=result.mpp_um, mpp_source="flag") as slide:
            grid = plan_grid(slide, result.mpp_um, LOOK_MPP_UM)

            def picture(x: float, y: float, ring: tuple[tuple[float, float], ...]) -> str:
                try:
                    png = draw_place(slide, grid, x, y, np.asarray(ring).reshape(-1, 2))  # noqa: B023
                except UnreadableRegion:
                    return ""
                return data_uri(png)

            for cell in lost[: max(_MOST_PICTURES - len(misses), 0)]:
                score = f"score {cell.score:.2f}" if cell.score >= 0 else "no candidate"
                text = f"{result.name}: {score}, {cell.diameter_um:.0f} µm, OD {cell.ck_od:.2f}"
                misses.append({"image": picture(cell.x_px, cell.y_px, cell.ring_px), "text": text})
            for other in wrong[: max(_MOST_PICTURES - len(falses), 0)]:
                text = f"{result.name}: score {other.score:.2f}, {other.kind or 'an ordinary cell or nothing'}"
                falses.append({"image": picture(other.x_px, other.y_px, other.ring_px), "text": text})
    return misses, falses


def _plot(title: str, below: str, draw: Callable[[Axes], None]) -> dict[str, str]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("plots need matplotlib; install it with: pip install 'dtcseg[train]'") from error
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_xlabel(below)
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return {"title": title, "svg": text[text.index("<svg") :]}


def _draw_froc(axes: Axes, results: Sequence[SlideEvaluation]) -> None:
    false, found = froc(results)
    axes.step(np.maximum(false, 0.1), found, where="post", color=_ACCENT)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("recall")
    axes.grid(alpha=0.3)


def _draw_reliability(axes: Axes, results: Sequence[SlideEvaluation]) -> None:
    found = calibration(results)
    full = found.counts > 0
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1)
    axes.plot(found.predicted[full], found.observed[full], "o-", color=_ACCENT)
    axes.set_ylabel("share that are tumour cells")
    axes.grid(alpha=0.3)


def _draw_counts(axes: Axes, results: Sequence[SlideEvaluation]) -> None:
    known = [r for r in results if r.true_mnc]
    axes.axhline(0, color=_SOFT, linewidth=1)
    errors = [100 * (r.mnc - r.true_mnc) / r.true_mnc for r in known]
    axes.plot([r.true_mnc for r in known], errors, "o", color=_INK)
    agreement = count_agreement(results)
    for level in (agreement.bias, *agreement.limits):
        if np.isfinite(level):
            axes.axhline(100 * level, color=_ACCENT, linewidth=1, linestyle="--")
    axes.set_ylabel("error of the count, %")
