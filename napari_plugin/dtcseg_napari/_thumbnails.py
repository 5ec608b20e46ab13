"""Thumbnails read in the background: the newest wish first, the rest forgotten, a bounded number kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QImage

from dtcseg.review.pictures import PICTURE_UM, picture
from dtcseg_napari._handles import Find, Handles

if TYPE_CHECKING:
    from dtcseg.review.slides import Item

SIDE_PX = 96
_KEPT = 800
"""Of 27 kB each: 22 MB."""
_WISHES = 128
"""More than a screen full; what was scrolled past is not read."""


class Thumbnails(QObject):
    """Pictures of items by id, read by one thread with a slide handle of its own.

    Parameters
    ----------
    find : callable
        As `Handles`; called in the thread.
    """

    ready = Signal(str)

    def __init__(self, find: Find, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._images: OrderedDict[str, QImage] = OrderedDict()
        self._wishes: OrderedDict[str, Item] = OrderedDict()
        self._wake = threading.Condition()
        self._stopped = False
        self._anew = False
        self._handles = Handles(find)
        self._thread = threading.Thread(target=self._work, name="dtcseg thumbnails", daemon=True)
        self._thread.start()

    def get(self, item: Item) -> QImage | None:
        """Give a thumbnail, or wish for it: `ready` tells its id when it is there."""
        with self._wake:
            image = self._images.get(item.id)
            if image is not None:
                self._images.move_to_end(item.id)
                return image
            self._wishes[item.id] = item
            self._wishes.move_to_end(item.id)
            while len(self._wishes) > _WISHES:
                self._wishes.popitem(last=False)
            self._wake.notify()
        return None

    def forget(self) -> None:
        """Read everything anew: a slide was found that was missing."""
        with self._wake:
            self._images.clear()
            self._anew = True

    def stop(self) -> None:
        """End the thread and close its slides."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            while (item := self._next()) is not None:
                if self._anew:
                    self._handles.close()
                    self._anew = False
                image = self._read(item)
                with self._wake:
                    if self._stopped:
                        break
                    self._images[item.id] = image
                    while len(self._images) > _KEPT:
                        self._images.popitem(last=False)
                self.ready.emit(item.id)
        finally:
            self._handles.close()

    def _next(self) -> Item | None:
        with self._wake:
            while not self._wishes and not self._stopped:
                self._wake.wait()
            return None if self._stopped else self._wishes.popitem()[1]

    def _read(self, item: Item) -> QImage:
        handle = self._handles.get(item.home)
        if handle is None:
            pixels = np.full((SIDE_PX, SIDE_PX, 3), 128, np.uint8)
        else:
            side_px = max(round(PICTURE_UM / handle.mpp_um), 8)
            pixels = picture(handle.slide, handle.profile, *item.home_px, side_px=side_px)
        height, width, _ = pixels.shape
        data = pixels.tobytes()
        image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()  # off these bytes, which go
        return image.scaled(
            SIDE_PX, SIDE_PX, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
