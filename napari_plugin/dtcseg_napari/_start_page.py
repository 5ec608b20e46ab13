"""The first page of the review: which results, who reads, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

READ, BLIND, ADJUDICATE = "read", "blind", "adjudicate"
_WAYS = {
    READ: ("Read", "the program's calls and scores are shown"),
    BLIND: ("Read blind", "calls, scores and their order are hidden"),
    ADJUDICATE: ("Adjudicate", "only what readers differ on, with their words"),
}


@dataclass(frozen=True)
class Choice:
    """What was chosen: the results, the reader's name, one of `READ`, `BLIND`, `ADJUDICATE`, and how many checks."""

    results: Path
    reader: str
    way: str = READ
    seeded: int = 0
    audit: int = 0


class StartPage(QWidget):
    """Asks what to begin with; other readers' verdicts are never shown to who reads."""

    folder_chosen = Signal(str)
    begun = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("results folder of dtcseg score")
        self.reader = QComboBox()
        self.reader.setEditable(True)
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setTextFormat(Qt.TextFormat.PlainText)
        self.ways = {way: QRadioButton(words) for way, (words, _) in _WAYS.items()}
        self.seeded, self.audit = _number("cells"), _number("nuclei")
        self.begin = QPushButton("Begin")
        self.begin.setDefault(True)
        self._lay_out()
        self.ways[READ].setChecked(True)
        self.folder.editingFinished.connect(lambda: self.folder_chosen.emit(self.folder.text()))
        self.begin.clicked.connect(self._begin)
        line = self.reader.lineEdit()
        if line is not None:
            line.setPlaceholderText("name or initials")
            line.returnPressed.connect(self._begin)

    def show_results(self, path: Path, about: str, readers: Sequence[str], reader: str) -> None:
        """Fill in what is known of a results folder."""
        self.folder.setText(str(path))
        self.about.setText(about)
        self.reader.clear()
        self.reader.addItems(list(readers))
        self.reader.setCurrentText(reader)
        self.reader.setFocus()

    def choice(self) -> Choice:
        """Tell what is filled in."""
        way = next(way for way, button in self.ways.items() if button.isChecked())
        return Choice(
            Path(self.folder.text()), self.reader.currentText().strip(), way, self.seeded.value(), self.audit.value()
        )

    def _begin(self) -> None:
        self.begun.emit(self.choice())

    def _lay_out(self) -> None:
        browse = QPushButton("Choose…")
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.folder, 1)
        row.addWidget(browse)
        form = QFormLayout()
        form.addRow("Results", row)
        form.addRow("Reader", self.reader)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.about)
        layout.addWidget(self._ways_box())
        layout.addWidget(self._checks_box())
        layout.addWidget(self.begin)
        note = QLabel("Every verdict is on disk before the next cell is shown. Research use only.")
        note.setWordWrap(True)
        layout.addWidget(note)
        layout.addStretch(1)

    def _ways_box(self) -> QGroupBox:
        box = QGroupBox("How")
        column = QVBoxLayout(box)
        for way, (_, meaning) in _WAYS.items():
            column.addWidget(self.ways[way])
            note = QLabel(meaning)
            note.setIndent(22)
            column.addWidget(note)
        return box

    def _checks_box(self) -> QGroupBox:
        box = QGroupBox("Checks, reported and never counted")
        form = QFormLayout(box)
        form.addRow("Known tumour cells a slide", self.seeded)
        form.addRow("Nuclei below threshold a slide", self.audit)
        return box

    def _browse(self) -> None:
        dialog = QFileDialog(self, "Results folder", self.folder.text())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(self._chosen)
        dialog.open()

    def _chosen(self, path: str) -> None:
        self.folder.setText(path)
        self.folder_chosen.emit(path)


def _number(what: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, 500)
    box.setSpecialValueText("none")
    box.setSuffix(f" {what}")
    return box
