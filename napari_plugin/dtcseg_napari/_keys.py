"""The keys of the review: what each does, as napari's preferences say; they work wherever the mouse is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget

ACTIONS: dict[str, str] = {
    "tumour": "T",
    "probable": "P",
    "uninterpretable": "U",
    "haematopoietic": "H",
    "artefact": "A",
    "skip": "S",
    "back": "B",
    "undo": "Z",
    "redo": "Y",
    "comment": "C",
    "paint": "E",
    "drag": "D",
    "split": "X",
    "join": "J",
    "new_cell": "N",
    "delete": "Del",
    "outline": "O",
    "planes": "V",
    "centre": "Space",
}
"""What can be done, and its key when the preferences say nothing else (as in napari.yaml)."""
LEAVE = "Esc"


def chosen_keys() -> tuple[dict[str, str], list[str]]:
    """Read the keys from the preferences.

    Returns
    -------
    keys : dict of str to str
        Key by action.
    problems : list of str
        Keys that are none or are used twice, for which the usual ones are taken; one line each.
    """
    settings = _settings()
    wanted = {name: str(getattr(settings.keys, name, key)) if settings else key for name, key in ACTIONS.items()}
    keys, problems = {}, []
    for name, key in wanted.items():
        sequence = QKeySequence(key).toString()
        if not sequence or sequence == LEAVE or list(wanted.values()).count(key) > 1:
            problems.append(
                f"the key {key!r} for {name} is none, or is used twice; {ACTIONS[name]} is taken (Preferences)"
            )
            sequence = ACTIONS[name]
        keys[name] = sequence
    return keys, problems


def remembered_reader() -> str:
    """Read the reader's name from the preferences."""
    settings = _settings()
    return str(settings.review.reader) if settings else ""


def remember_reader(name: str) -> None:
    """Keep the reader's name for the next time."""
    settings = _settings()
    if settings and settings.review.reader != name:
        settings.review.reader = name


def bind(widget: QWidget, keys: Mapping[str, str], act: Callable[[str], None]) -> list[QShortcut]:
    """Make the keys work; text fields keep theirs, since a field takes letters before any shortcut does.

    Parameters
    ----------
    widget : QWidget
        Owns them.
    keys : mapping
        Key by action.
    act : callable
        Told the action; "leave" for Escape.
    """
    shortcuts = []
    for name, key in {**keys, "leave": LEAVE}.items():
        shortcut = QShortcut(QKeySequence(key), widget)
        shortcut.setContext(Qt.ShortcutContext.ApplicationShortcut)
        shortcut.setAutoRepeat(name == "back")  # a key that is held down must not judge twenty cells
        shortcut.activated.connect(lambda name=name: act(name))
        shortcuts.append(shortcut)
    return shortcuts


def _settings() -> Any:
    from napari.settings import get_plugin_settings

    try:
        return get_plugin_settings("dtcseg")
    except (KeyError, ValueError):  # napari knows the plugin only by its manifest, or the file of preferences is spoilt
        return None
