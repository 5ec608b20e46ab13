"""Champion and challenger on the same crops: temperature, operating point, and what the gate says."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dtcseg.network.laboratory import Laboratory, laboratories_of
from dtcseg.network.model import LOOK_CLASSES
from dtcseg.network.weights import WeightsInfo, load, load_looks, resolve, save
from dtcseg.results.atomic import write_file, writing_to
from dtcseg_training.learn.bar import choose_bar
from dtcseg_training.learn.gate import compare, decide
from dtcseg_training.learn.judge import TUMOUR, judged, probabilities
from dtcseg_training.learn.proposal import unseen
from dtcseg_training.learn.suspicion import contradiction, warnings_of
from dtcseg_training.learn.threshold import choose_threshold
from dtcseg_training.temperature import fit_temperature

if TYPE_CHECKING:
    from dtcseg.network.laboratory import Signature
    from dtcseg.network.model import Look
    from dtcseg_training.learn.gate import Judged
    from dtcseg_training.learn.outcome import Comparison, GateResult, LabThreshold
    from dtcseg_training.learn.simulated import FieldCrops
    from dtcseg_training.learn.training_set import SlideCrops

_LEAST_PROBABILITY = 1e-12
_SAME_LABORATORY = 0.5
"""A slide so like one of those that were learned from before is of the same laboratory."""

Found = list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


class Challenger:
    """Weights with a look for a laboratory, written with the card of those they were begun with until more is known.

    The looks of other laboratories stay; one whose slides are like those that were learned from is replaced.

    Parameters
    ----------
    path : Path
        The weights file.
    parent : WeightsInfo
    look : Look
        Of the laboratory.
    name : str
    slides : sequence of Signature
        Those that were learned from.
    candidate_threshold : float
        On the laboratory's slides (`proposal.threshold_for`).
    """

    def __init__(
        self,
        path: Path,
        parent: WeightsInfo,
        look: Look,
        name: str,
        slides: Sequence[Signature],
        candidate_threshold: float,
    ) -> None:
        self._path, self.parent = path, parent
        self._screen, self._common = load(parent)
        known = laboratories_of(parent.card.laboratories)
        before = laboratory_before(parent, slides)
        kept = [i for i in range(len(known)) if i != before]
        looks = load_looks(parent)
        self._looks = [*(looks[i] for i in kept), look]
        self._others = [known[i] for i in kept]
        earlier = known[before].slides if before is not None else ()
        known_slides = tuple(dict.fromkeys((*earlier, *slides)))
        self._own = Laboratory(known_slides, parent.card.temperature, candidate_threshold)
        self._card = replace(parent.card, name=name, parent=parent.sha256)

    @property
    def laboratory(self) -> Laboratory:
        """The laboratory, as it stands in the card."""
        return self._own

    def calibrate(self, *, temperature: float | None = None, bar: float | None = None) -> WeightsInfo:
        """Write the file with this temperature and this bar of the laboratory, which stay."""
        if temperature is not None:
            self._own = replace(self._own, temperature=temperature)
        if bar is not None:
            self._own = replace(self._own, bar=bar)
        return self.written()

    def written(self, **changes: object) -> WeightsInfo:
        """Write the file with these members of the card, which stay."""
        laboratories = [laboratory.to_json() for laboratory in (*self._others, self._own)]
        self._card = replace(self._card, laboratories=laboratories, **changes)  # type: ignore[arg-type]
        save(self._path, self._screen, self._common, self._card, self._looks)
        return resolve(str(self._path))


def laboratory_before(parent: WeightsInfo, slides: Sequence[Signature]) -> int | None:
    """Index of the laboratory in a weights file whose slides these are; None where it knows none of them."""
    alike = [
        max((laboratory.likeness(slide) for slide in slides), default=0.0)
        for laboratory in laboratories_of(parent.card.laboratories)
    ]
    best = max(range(len(alike)), key=alike.__getitem__, default=None)
    return best if best is not None and alike[best] >= _SAME_LABORATORY else None


def look_before(parent: WeightsInfo, slides: Sequence[Signature]) -> Look:
    """Give the look to begin with: that of the laboratory whose slides these are, else that for everybody's slides."""
    before = laboratory_before(parent, slides)
    return load(parent)[1] if before is None else load_looks(parent)[before]


@dataclass(frozen=True)
class Contest:
    """What was seen, by champion (0) and challenger (1).

    Attributes
    ----------
    slides : sequence of SlideCrops
    alike, reference : sequence of FieldCrops
    on_slides, on_alike, on_reference : (list, list) of (N, 4) float32
        Probabilities of the calls.
    default : float
        The champion's threshold.
    seed : int
    """

    slides: Sequence[SlideCrops]
    alike: Sequence[FieldCrops]
    reference: Sequence[FieldCrops]
    on_slides: tuple[Found, Found]
    on_alike: tuple[Found, Found]
    on_reference: tuple[Found, Found]
    default: float
    seed: int

    @property
    def held_out(self) -> list[int]:
        """Indices of the slides that were not learned from."""
        return [i for i, slide in enumerate(self.slides) if slide.held_out]

    def on_lab(self, chosen: Sequence[int], threshold: float) -> Judged:
        """Give calls on some of the slides, the challenger's at a threshold."""
        was, now = ([found[i] for i in chosen] for found in self.on_slides)
        return judged([self.slides[i] for i in chosen], was, now, (self.default, threshold))

    def of_reference(self, threshold: float) -> Comparison:
        """Compare on the reference set, the challenger's calls at a threshold."""
        return compare("reference", judged(self.reference, *self.on_reference, (self.default, threshold)), self.seed)

    def of_alike(self, threshold: float) -> Comparison:
        """Compare on simulated fields like the laboratory's slides."""
        return compare("alike", judged(self.alike, *self.on_alike, (self.default, threshold)), self.seed)

    def threshold(self) -> LabThreshold:
        """Choose the operating point."""
        slides = [self.slides[i] for i in self.held_out]

        says = cache(self._known_says)

        def allowed(threshold: float) -> bool:
            return says(threshold) == says(self.default)

        if not slides:
            return choose_threshold([], np.zeros(0), np.zeros(0, bool), self.default, allowed)
        lab = self.on_lab(self.held_out, self.default)
        return choose_threshold(slides, lab.scores[1], lab.tumour, self.default, allowed)

    def _known_says(self, threshold: float) -> str:
        """Give the reason for which cells of known truth would refuse, whatever the laboratory's cells say."""
        return decide(None, self.of_reference(threshold), alike=self.of_alike(threshold)).reason

    def gate(self, threshold: float) -> GateResult:
        """Decide, with the challenger's calls at a threshold."""
        everything = self.on_lab(range(len(self.slides)), self.default)
        warnings = warnings_of(self.slides, everything.scores[0])
        lab = compare("lab", self.on_lab(self.held_out, threshold), self.seed) if self.held_out else None
        found = decide(lab, self.of_reference(threshold), warnings, self.of_alike(threshold))
        contrary = contradiction(everything.scores[0], everything.tumour)
        return replace(found, promoted=False, reason=contrary) if contrary else found


def calibrated(
    challenger: Challenger, aside: Sequence[FieldCrops], device: str, told: Callable[[int], None]
) -> WeightsInfo:
    """Write the challenger with the temperature and the bar that simulated fields which were not learned from ask for.

    Parameters
    ----------
    challenger : Challenger
    aside : sequence of FieldCrops
        What it proposes on fields like the laboratory's slides, and the tumour cells that it does not.
    device : str
    told : callable
        Told how many crops are done, of all three times.
    """
    draft = challenger.written()
    crops = sum(len(field.crops) for field in aside)
    if not crops:
        return draft
    seen = np.concatenate(probabilities(draft, aside, device, told)).astype(np.float64)
    told_apart = seen[:, TUMOUR] > 0  # the others are called by a rule, not by their probability
    if not told_apart.any():
        return draft
    logits = challenger.laboratory.temperature * np.log(np.maximum(seen[told_apart], _LEAST_PROBABILITY))
    temperature = fit_temperature(logits, np.concatenate([field.calls for field in aside])[told_apart])
    info = challenger.calibrate(temperature=temperature)
    parent, threshold = challenger.parent, info.card.tumour_threshold
    first = _as_proposed(parent, aside, probabilities(parent, aside, device, lambda done: told(crops + done)))
    second = _as_proposed(info, aside, probabilities(info, aside, device, lambda done: told(2 * crops + done)))
    return challenger.calibrate(bar=choose_bar(judged(aside, first, second, (threshold, threshold)), threshold))


def _as_proposed(info: WeightsInfo, fields: Sequence[FieldCrops], found: Found) -> Found:
    """Take tumour cells out of what weights say where they propose nothing: it is no tumour cell to them."""
    for calls, hidden in zip(found, unseen(info.card, fields), strict=True):
        calls[hidden, TUMOUR] = 0
    return found


def stained_like(fields: Sequence[FieldCrops], signature: Signature) -> list[FieldCrops]:
    """Take fields for ones of a slide: so they are seen as that slide is, whatever their own profiles came to."""
    return [replace(field, signature=signature) for field in fields]


def contest(
    weights: tuple[WeightsInfo, WeightsInfo],
    slides: Sequence[SlideCrops],
    alike: Sequence[FieldCrops],
    reference: Sequence[FieldCrops],
    device: str,
    seed: int,
    told: Callable[[int], None],
    *,
    keep: Path | None = None,
) -> Contest:
    """Ask champion and challenger about all crops; what is no candidate of theirs is no tumour cell to them.

    Parameters
    ----------
    weights : (WeightsInfo, WeightsInfo)
    slides : sequence of SlideCrops
    alike, reference : sequence of FieldCrops
    device : str
    seed : int
        Of the bootstrap.
    told : callable
        Told how many crops are done, of all by both.
    keep : Path, optional
        Where the champion's answers on the reference set are kept, which every challenger is held against.
    """
    done = 0

    def asked(info: WeightsInfo, units: Sequence[FieldCrops | SlideCrops]) -> Found:
        nonlocal done
        found = probabilities(info, units, device, lambda crops: told(done + crops))
        done += sum(len(unit.crops) for unit in units)
        return found

    def asked_of_candidates(info: WeightsInfo, fields: Sequence[FieldCrops]) -> Found:
        return _as_proposed(info, fields, asked(info, fields))

    first, second = weights
    on_slides = asked(first, slides), asked(second, slides)
    on_alike = asked_of_candidates(first, alike), asked_of_candidates(second, alike)
    champion = _kept(keep, reference)
    if champion is None:
        champion = asked_of_candidates(first, reference)
        _keep(keep, champion)
    else:
        done += sum(len(unit.crops) for unit in reference)
    on_reference = champion, asked_of_candidates(second, reference)
    return Contest(slides, alike, reference, on_slides, on_alike, on_reference, first.card.tumour_threshold, seed)


def _kept(file: Path | None, reference: Sequence[FieldCrops]) -> Found | None:
    """Read answers that were kept; None where there are none for these fields."""
    if file is None or not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = [arrays[f"{i}"] for i in range(len(reference))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fit = all(f.shape == (len(unit.calls), len(LOOK_CLASSES)) for f, unit in zip(found, reference, strict=True))
    return found if fit else None


def _keep(file: Path | None, found: Found) -> None:
    if file is not None:
        stream = io.BytesIO()
        arrays: dict[str, Any] = {f"{i}": answers for i, answers in enumerate(found)}
        np.savez(stream, **arrays)
        with writing_to(file.parent):
            write_file(file, stream.getvalue())
