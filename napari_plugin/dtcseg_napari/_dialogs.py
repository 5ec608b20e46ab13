"""Dialogs that say what is wrong and what to do; none of them holds up what runs behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog, QMessageBox, QWidget


def tell(parent: QWidget, title: str, lines: Sequence[str]) -> QMessageBox:
    """Say what is wrong.

    Parameters
    ----------
    parent : QWidget
    title : str
        What cannot be done, in a few words.
    lines : sequence of str
        What is wrong and what to do; shown as plain text.
    """
    box = _box(parent, title, "\n\n".join(lines))
    box.setIcon(QMessageBox.Icon.Warning)
    box.open()
    return box


def ask(parent: QWidget, title: str, text: str, answers: Sequence[tuple[str, Callable[[], None]]]) -> QMessageBox:
    """Ask for a decision; the last answer is the one that Escape gives.

    Parameters
    ----------
    parent : QWidget
    title, text : str
    answers : sequence of (str, callable)
        Words on the button, and what to do then.
    """
    box = _box(parent, title, text)
    box.setIcon(QMessageBox.Icon.Question)
    buttons = [(box.addButton(words, QMessageBox.ButtonRole.ActionRole), action) for words, action in answers]
    box.setEscapeButton(buttons[-1][0])
    box.setDefaultButton(buttons[0][0])

    def done(_: int) -> None:
        for button, action in buttons:
            if box.clickedButton() is button:
                action()

    box.finished.connect(done)
    box.open()
    return box


def ask_text(parent: QWidget, title: str, text: str, action: Callable[[str], None]) -> QInputDialog:
    """Ask for one line of text; nothing happens where it is left empty."""
    dialog = QInputDialog(parent)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle(title)
    dialog.setLabelText(text)
    dialog.textValueSelected.connect(lambda value: action(value) if value.strip() else None)
    dialog.open()
    return dialog


def _box(parent: QWidget, title: str, text: str) -> QMessageBox:
    box = QMessageBox(parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setWindowTitle(title)
    box.setTextFormat(Qt.TextFormat.PlainText)  # names of files and readers are no markup
    box.setText(title)
    box.setInformativeText(text)
    return box
