"""Curves of a fit, painted small: the loss on what is learned, and on simulated cells that are not learned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from dtcseg_training.learn import Curve
    from qtpy.QtGui import QPaintEvent

LINES = {
    "learned": ("#56B4E9", "cells being learned"),
    "aside": ("#009E73", "simulated like your slides, not learned from"),
}
"""Colours of Okabe and Ito, and what each line is about."""
_LEFT, _TOP, _BOTTOM = 8, 8, 40


class CurveView(QWidget):
    """Paints the curves; lower is better."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._curves: tuple[Curve, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Ask for room."""
        return QSize(320, 150)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Ask for a little room at least."""
        return QSize(200, 150)

    def show_curves(self, curves: Sequence[Curve]) -> None:
        """Show these points."""
        self._curves = tuple(curves)
        self.update()

    def points(self) -> dict[str, list[tuple[float, float]]]:
        """Places of every line in this widget, pixels; what is not a number is left out."""
        values = {name: [(c.step, getattr(c, name)) for c in self._curves] for name in LINES}
        known = {name: [(x, y) for x, y in line if math.isfinite(y)] for name, line in values.items()}
        steps = [x for line in known.values() for x, _ in line]
        losses = [y for line in known.values() for _, y in line]
        if not steps:
            return {}
        first, last, low, high = min(steps), max(steps), min(losses), max(losses)
        width, height = self.width() - 2 * _LEFT, self.height() - _TOP - _BOTTOM
        return {
            name: [
                (
                    _LEFT + width * (x - first) / max(last - first, 1),
                    _TOP + height * (1 - (y - low) / max(high - low, 1e-9)),
                )
                for x, y in line
            ]
            for name, line in known.items()
            if line
        }

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw frame, lines and legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        frame = QColor(ink)
        frame.setAlpha(60)
        painter.setPen(QPen(frame, 1))
        painter.drawRect(QRectF(_LEFT, _TOP, self.width() - 2 * _LEFT, self.height() - _TOP - _BOTTOM))
        lines = self.points()
        for name, line in lines.items():
            painter.setPen(QPen(QColor(LINES[name][0]), 2))
            if len(line) == 1:
                painter.drawEllipse(QPointF(*line[0]), 2, 2)
            painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in line]))
        self._legend(painter, ink, list(lines) or list(LINES))
        painter.end()

    def _legend(self, painter: QPainter, ink: QColor, names: list[str]) -> None:
        font = painter.font()
        font.setPointSizeF(max(font.pointSizeF() - 1.5, 7.0))
        painter.setFont(font)
        x, y = float(_LEFT), float(self.height() - _BOTTOM + 16)
        metrics = painter.fontMetrics()
        for name in names:
            colour, words = LINES[name]
            width = 22 + metrics.horizontalAdvance(words) + 12
            if x + width > self.width() and x > _LEFT:
                x, y = float(_LEFT), y + metrics.height()
            painter.setPen(QPen(QColor(colour), 3))
            painter.drawLine(QPointF(x, y - 4), QPointF(x + 16, y - 4))
            painter.setPen(ink)
            painter.drawText(QPointF(x + 22, y), words)
            x += width
        painter.drawText(
            QRectF(_LEFT, _TOP + 2, self.width() - 2 * _LEFT - 6, 20), Qt.AlignmentFlag.AlignRight, "lower is better"
        )
