"""The gallery: a thumbnail for each cell of the queue, drawn and read only where it is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from qtpy.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QImage, QPainter, QPen
from qtpy.QtWidgets import QListView, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from dtcseg_napari._colours import OUTLINE_COLOUR, VERDICT_COLOURS, VERDICT_LETTERS, word
from dtcseg_napari._thumbnails import SIDE_PX

TILE_PX = SIDE_PX + 8
_FRAME_PX = 4
_Index = QModelIndex | QPersistentModelIndex


class Tile(NamedTuple):
    """What is drawn of one cell: its picture (None: still to come), the reader's word, and a line beneath it."""

    image: QImage | None
    say: str
    caption: str
    commented: bool


class GalleryModel(QAbstractListModel):
    """Ids in the order of the queue.

    Parameters
    ----------
    tile : callable
        Gives what to draw for an id.
    """

    def __init__(self, tile: Callable[[str], Tile], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tile = tile
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}

    def rowCount(self, parent: _Index | None = None) -> int:  # noqa: N802
        """Count cells."""
        return 0 if parent is not None and parent.isValid() else len(self._ids)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Tell the caption, for screen readers and tool tips; the picture is drawn by the delegate."""
        if not index.isValid() or role not in (Qt.ItemDataRole.AccessibleTextRole, Qt.ItemDataRole.ToolTipRole):
            return None
        tile = self.tile(index.row())
        return f"{tile.caption}: {word(tile.say) or 'not read'}"

    def tile(self, row: int) -> Tile:
        """Tell what to draw in a row."""
        return self._tile(self._ids[row])

    def id_of(self, row: int) -> str:
        """Tell the id of the cell in a row."""
        return self._ids[row]

    def row_of(self, item_id: str) -> int:
        """Find the row of a cell; -1 where it is not in the queue."""
        return self._rows.get(item_id, -1)

    def show_ids(self, ids: Sequence[str]) -> None:
        """Show another queue."""
        if list(ids) == self._ids:
            return
        self.beginResetModel()
        self._ids = list(ids)
        self._rows = {item_id: row for row, item_id in enumerate(self._ids)}
        self.endResetModel()

    def touch(self, item_id: str) -> None:
        """Draw a cell again."""
        row = self.row_of(item_id)
        if row >= 0:
            index = self.index(row, 0)
            self.dataChanged.emit(index, index)


class _TileDelegate(QStyledItemDelegate):
    """Draws picture, frame in the verdict's colour, its letter, and the caption."""

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:  # noqa: N802
        return QSize(TILE_PX, TILE_PX + 14)

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: _Index) -> None:
        model = index.model()
        if painter is None or not isinstance(model, GalleryModel):
            return
        tile = model.tile(index.row())
        painter.save()
        box = QRect(option.rect.x() + 4, option.rect.y() + 2, SIDE_PX, SIDE_PX)
        if tile.image is None:
            painter.fillRect(box, QColor(128, 128, 128, 90))
        else:
            painter.drawImage(box, tile.image)
        if tile.say:
            self._draw_word(painter, box, tile.say)
        self._draw_caption(painter, option, box, tile)
        if index == self._current(option):
            painter.setPen(QPen(QColor(OUTLINE_COLOUR), 3))
            painter.drawRect(box.adjusted(-2, -1, 1, 2))
        painter.restore()

    def _current(self, option: QStyleOptionViewItem) -> QModelIndex:
        view = self.parent()
        return view.currentIndex() if isinstance(view, QListView) else QModelIndex()

    def _draw_word(self, painter: QPainter, box: QRect, say: str) -> None:
        colour = QColor(VERDICT_COLOURS[say])
        painter.setPen(QPen(colour, _FRAME_PX))
        painter.drawRect(box.adjusted(2, 2, -3, -3))
        badge = QRect(box.right() - 19, box.top(), 20, 20)
        painter.fillRect(badge, colour)
        painter.setPen(QColor("white" if colour.lightness() < 140 else "black"))
        font = QFont(painter.font())
        font.setBold(True)
        font.setPixelSize(14)
        painter.setFont(font)
        painter.drawText(badge, int(Qt.AlignmentFlag.AlignCenter), VERDICT_LETTERS[say])

    def _draw_caption(self, painter: QPainter, option: QStyleOptionViewItem, box: QRect, tile: Tile) -> None:
        font = QFont(option.font)
        font.setPixelSize(11)
        painter.setFont(font)
        painter.setPen(option.palette.text().color())
        place = QRect(box.left(), box.bottom() + 2, SIDE_PX, 14)
        text = tile.caption + (" …" if tile.commented else "")
        painter.drawText(place, int(Qt.AlignmentFlag.AlignCenter), text)


class Gallery(QListView):
    """Thumbnails in a grid that fills the width; one click shows a cell.

    Parameters
    ----------
    tile : callable
        As `GalleryModel`.
    """

    chosen = Signal(str)

    def __init__(self, tile: Callable[[str], Tile], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tiles = GalleryModel(tile, self)
        self.setModel(self.tiles)
        self.setItemDelegate(_TileDelegate(self))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setMovement(QListView.Movement.Static)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QListView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setSpacing(0)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Cells")
        self.clicked.connect(lambda index: self.chosen.emit(self.tiles.id_of(index.row())))

    def show_queue(self, ids: Sequence[str], current: str) -> None:
        """Show a queue with its current cell in view."""
        self.tiles.show_ids(ids)
        row = self.tiles.row_of(current)
        if row < 0:
            return
        before = self.currentIndex()
        index = self.tiles.index(row, 0)
        self.setCurrentIndex(index)
        self.scrollTo(index, QListView.ScrollHint.EnsureVisible)
        for changed in (before, index):
            if changed.isValid():
                self.update(changed)
