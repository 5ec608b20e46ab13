"""The whole of learning from reviews, step by step; the same call goes on after a stop."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dtcseg import __version__
from dtcseg.drift.reference import added_slides
from dtcseg.errors import UsageError
from dtcseg.network.history import KNOWN_SUFFIX
from dtcseg.network.model import LOOK_CLASSES
from dtcseg.network.weights import Card, WeightsInfo, load, resolve
from dtcseg.parallel import cores
from dtcseg.results.atomic import write_file, writing_to
from dtcseg.results.text import one_line
from dtcseg_training.learn.bar import in_words as bar_in_words
from dtcseg_training.learn.foreign import add_annotations
from dtcseg_training.learn.meter import Meter
from dtcseg_training.learn.outcome import (
    GateResult,
    LabThreshold,
    LearnOutcome,
    LearnProgress,
    Refused,
    SetSummary,
    Sizes,
    Step,
    Stopped,
)
from dtcseg_training.learn.pages import card_text, learning_page
from dtcseg_training.learn.proposal import in_words as proposal_in_words
from dtcseg_training.learn.proposal import proposed, threshold_for, unseen
from dtcseg_training.learn.simulated import FieldCrops, draw_fields, fields_sha256, load_fields, lock
from dtcseg_training.learn.split import By, hold_out
from dtcseg_training.learn.suspicion import contradiction, unjudgeable
from dtcseg_training.learn.taught import TaughtSlide, collect
from dtcseg_training.learn.training_set import TrainingSet, slide_key, write_set

if TYPE_CHECKING:
    from dtcseg_training.learn.alike import Likeness
    from dtcseg_training.learn.contest import Challenger, Found
    from dtcseg_training.learn.simulated import Kind
    from dtcseg_training.learn.tune import FitPlan, Tuned

_RUN_VERSION = 9
"""Part of what names a run: raised when the same data would lead to other weights."""
_TUMOUR = LOOK_CLASSES.index("tumour")
_PILOT_UNITS = 60
"""To set the simulator takes as long as to draw so many fields."""


def learn(
    results: Sequence[Path],
    out: Path,
    *,
    annotations: Sequence[Path] = (),
    model: str = "",
    device: str = "auto",
    force: bool = False,
    work: Path | None = None,
    seed: int = 1,
    sizes: Sizes | None = None,
    progress: Callable[[LearnProgress], None] = lambda told: None,
    stop: Callable[[], bool] = lambda: False,
) -> LearnOutcome:
    """Fit weights to what readers said, hold them against those they began with, and write them if they are better.

    Parameters
    ----------
    results : sequence of Path
        Results folders with verdicts.
    out : Path
        The weights file to write, `NAME.safetensors`; `NAME.md` (card) and `NAME.html` (report) come beside it. Where
        the gate refuses, only the report is written.
    annotations : sequence of Path
        Annotations made elsewhere of slides of these results: GeoJSON, COCO, label images (docs/learning.md).
    model : str
        Weights to begin with, as `--model`.
    device : str
    force : bool
        Write the weights although the gate refuses them; their card says so for ever.
    work : Path, optional
        Keeps training sets, simulated crops, the reference set and states, to go on after a stop; `dtcseg-learn` beside
        `out` when not given.
    seed : int
        The same seed and the same inputs give the same weights, bit for bit on a CPU.
    sizes : Sizes, optional
        Fewer simulated fields, for tests.
    progress : callable
        Told how far it is, from the calling thread.
    stop : callable
        Asked often; once it says True, `Stopped` is raised and nothing is lost.

    Raises
    ------
    UsageError
        No folder, weights or verdict to learn from, or `out` cannot be written.
    Refused
        The verdicts cannot judge anything: of one patient, of one kind, too few, or the reverse of what the weights
        think. Not with `force`.
    Stopped
    """
    began = _processor_s()
    sizes = sizes or Sizes()
    _check_out(out, results)
    parent = resolve(model)
    run = _Run(parent, device, seed, sizes, work or out.parent / "dtcseg-learn", progress, stop)
    data, by, taught = run.collect(results, annotations)
    reason = unjudgeable(data.slides) or run.contrary(data)
    if reason and not force:
        raise Refused(f"refused before anything is fitted: {reason}")
    fields = run.simulated(data)
    tuned = run.fit(data, fields)
    judged = run.judge(data, fields, tuned, out.stem)
    files = _Files(out, run, data, by, taught)
    return files.write(judged, tuned, force, lambda: _processor_s() - began)


def _check_out(out: Path, results: Sequence[Path]) -> None:
    name = one_line(out)
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {name}: give the weights file to write, NAME.safetensors")
    if not results:
        raise UsageError("give at least one results folder with verdicts")
    if any(out.resolve().is_relative_to(root.resolve()) for root in results):
        raise UsageError(f"--out {name}: lies in a results folder; give a place outside of it")
    with writing_to(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)


def _processor_s() -> float:
    """Processor time of this process and of those it started that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@dataclass(frozen=True)
class _Verdict:
    """What judging led to."""

    info: WeightsInfo
    gate: GateResult
    threshold: LabThreshold
    challenger: Challenger
    on_slides: tuple[Found, Found]


class _Run:
    """One training run: its inputs, its folder, and its steps in their order."""

    def __init__(
        self,
        parent: WeightsInfo,
        device: str,
        seed: int,
        sizes: Sizes,
        work: Path,
        progress: Callable[[LearnProgress], None],
        stop: Callable[[], bool],
    ) -> None:
        self.parent, self.seed, self.sizes, self.work = parent, seed, sizes, work
        self._device, self._stop = device, stop
        units: dict[Step, int] = {
            "collect": 5,
            "alike": _PILOT_UNITS + sizes.like_slides,
            "reference": sizes.reference,
            "fit": 300,
            "gate": 15 * (sizes.aside + sizes.judging + sizes.reference),
            "write": 1,
        }
        self.meter = Meter(units, cores(), progress)
        self.locked, self.alike, self.device = "", "", ""
        with writing_to(work):
            work.mkdir(parents=True, exist_ok=True)

    def collect(
        self, results: Sequence[Path], annotations: Sequence[Path]
    ) -> tuple[TrainingSet, By, Sequence[TaughtSlide]]:
        """Verdicts and annotations to a training set."""
        self._ask()
        slides, left_out = collect(results)
        slides = add_annotations(slides, annotations, left_out)
        held_out, by = hold_out(slides, self.seed)

        def told(done: int, total: int) -> None:
            self.meter.expect("collect", total)
            self.meter.told("collect", done, f"cells of {done} of {total} slides collected")
            self._ask()

        data, _ = write_set(slides, held_out, left_out, self.work / "sets", on_slide=told)
        return data, by, slides

    def contrary(self, data: TrainingSet) -> str:
        """Say so where readers' words are the reverse of what the weights think."""
        from dtcseg_training.learn.judge import judged, probabilities

        seen = probabilities(self.parent, data.slides, self._device, lambda crops: self._ask())
        threshold = self.parent.card.tumour_threshold
        found = judged(data.slides, seen, seen, (threshold, threshold))
        said = np.concatenate([slide.said for slide in data.slides])
        return contradiction(found.scores[0][said], found.tumour[said])

    def simulated(self, data: TrainingSet) -> dict[Kind, list[FieldCrops]]:
        """Crops of fields like the laboratory's, to learn from, calibrate and judge by, and of the locked set."""
        from dtcseg_training.learn.alike import set_simulator, sitters
        from dtcseg_training.learn.contest import look_before
        from dtcseg_training.learn.tune import masks_of

        self.start = look_before(self.parent, [slide.signature for slide in data.learned])
        drawn = [masks_of(self.start, slide.crops, slide.spreads)[:, 0] for slide in data.learned]
        known = set_simulator(sitters(data.learned, drawn), processes=cores(), on_pilot=self._tried, stop=self._stop)
        if known is None:
            raise Stopped
        likes: dict[Kind, Sequence[Likeness]] = {"alike": known, "aside": known, "judging": known, "reference": ()}
        for kind, like in likes.items():
            self._draw(kind, like)
        fields = {k: load_fields(self.work, k, self._count(k), self.parent, like) for k, like in likes.items()}
        common = self.parent.card.candidate_threshold
        self.candidate_threshold = threshold_for(fields["alike"], common)
        self.locked = lock(self.work, self.parent, fields["reference"])
        self.alike = fields_sha256([*fields["alike"], *fields["aside"], *fields["judging"]])
        return fields

    def _count(self, kind: Kind) -> int:
        return int(getattr(self.sizes, kind))

    def _draw(self, kind: Kind, known: Sequence[Likeness]) -> None:
        """Draw the fields of one kind; those like the slides are told as one."""
        step: Step = "reference" if kind == "reference" else "alike"
        of = self.sizes.reference if kind == "reference" else self.sizes.like_slides
        what = "of the reference set" if kind == "reference" else "like these slides"
        before = {"aside": self.sizes.alike, "judging": self.sizes.alike + self.sizes.aside}.get(kind, 0)
        units = 0 if kind == "reference" else _PILOT_UNITS

        def told(there: int) -> None:
            done = before + there
            self.meter.told(step, units + done, f"{done} of {of} simulated fields {what} drawn")

        if not draw_fields(
            self.work, kind, self._count(kind), self.parent, known, processes=cores(), on_field=told, stop=self._stop
        ):
            raise Stopped

    def _tried(self, done: int, total: int) -> None:
        units = _PILOT_UNITS * done // total
        self.meter.told("alike", units, f"{done} of {total} small fields held against these slides")

    def fit(self, data: TrainingSet, fields: dict[Kind, list[FieldCrops]]) -> Tuned:
        """Fit the second look."""
        import torch

        from dtcseg.network.device import choose_device
        from dtcseg_training.learn.tune import plan_for, tune

        screen, _ = load(self.parent)
        device = self.device = str(choose_device(self._device, screen))
        said = np.concatenate([slide.said for slide in data.learned])
        plan = self.plan = plan_for(int(said.sum()), int((~said).sum()), self.seed, device)
        self.meter.expect("fit", plan.steps)
        self.folder = self._folder(data, plan)
        torch.set_num_threads(cores())
        tuned = tune(
            self.start,
            data.learned,
            [proposed(field, self.candidate_threshold) for field in fields.pop("alike")],  # not needed again
            [proposed(field, self.candidate_threshold) for field in fields["aside"]],
            plan,
            keep=self.folder / "fit.state",
            on_step=lambda done, curves: self.meter.told("fit", done, f"step {done} of {plan.steps}", curves),
            stop=self._stop,
        )
        if tuned is None:
            raise Stopped
        return tuned

    def judge(self, data: TrainingSet, fields: dict[Kind, list[FieldCrops]], tuned: Tuned, name: str) -> _Verdict:
        """Temperature, bar, operating point, and champion against challenger."""
        from dtcseg_training.learn.contest import Challenger, calibrated, contest, stained_like

        self._ask()
        slides = [slide.signature for slide in data.learned]
        aside = stained_like([proposed(field, self.candidate_threshold) for field in fields["aside"]], slides[0])
        alike = stained_like(fields["judging"], slides[0])
        watched = 3 * sum(len(unit.crops) for unit in aside)
        judged = sum(len(slide.crops) for slide in data.slides)
        judged += sum(len(unit.crops) for unit in (*alike, *fields["reference"]))
        self.meter.expect("gate", watched + 2 * judged)

        def told(crops: int) -> None:
            self.meter.told("gate", crops, "champion against challenger")
            self._ask()

        told(0)
        path = self.folder / f"{name}.safetensors"
        challenger = Challenger(path, self.parent, tuned.look, name, slides, self.candidate_threshold)
        info = calibrated(challenger, aside, self._device, told)
        seen = contest(
            (self.parent, info),
            data.slides,
            alike,
            fields["reference"],
            self._device,
            self.seed,
            lambda crops: told(watched + crops),
            keep=self.work / f"champion-{self.locked[:12]}-{self.device}.npz",
        )
        threshold = seen.threshold()
        gate = seen.gate(threshold.tumour_threshold)
        proposal = proposal_in_words(alike, self.parent.card.candidate_threshold, self.candidate_threshold)
        threshold = replace(threshold, text=f"{threshold.text}{bar_in_words(challenger.laboratory.bar)}; {proposal}")
        info = challenger.written(
            tumour_threshold=threshold.tumour_threshold,
            trained_on=_trained_on(self, data),
            figures=_figures(info.card, gate, threshold, fields["reference"]),
        )
        return _Verdict(info, gate, threshold, challenger, seen.on_slides)

    def _folder(self, data: TrainingSet, plan: FitPlan) -> Path:
        """Name the run by all that its weights depend on."""
        parts = {
            "version": _RUN_VERSION,
            "set": data.sha256,
            "parent": self.parent.sha256,
            "plan": plan.__dict__,
            "sizes": self.sizes.__dict__,
            "locked": self.locked,
            "alike": self.alike,
        }
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()[:16]
        folder = self.work / "runs" / key
        with writing_to(self.work):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _ask(self) -> None:
        if self._stop():
            raise Stopped


def _trained_on(run: _Run, data: TrainingSet) -> dict[str, object]:
    return {
        **run.parent.card.trained_on,
        "reviews": {
            "training_set_sha256": data.sha256,
            "cells": sum(len(slide.calls) for slide in data.learned),
            "slides": len(data.learned),
            "simulated_fields": run.sizes.alike,
            "simulated_fields_sha256": run.alike,
            "steps": run.plan.steps,
            "seed": run.seed,
            "reference_set_sha256": run.locked,
            "program": __version__,
        },
    }


def _figures(
    card: Card, gate: GateResult, threshold: LabThreshold, reference: Sequence[FieldCrops]
) -> dict[str, object]:
    """Figures of the parent that still hold, and those of the gate; what was overridden once stays.

    The recall of the gate is that of both looks; a card tells that of candidates, and of calls among these.
    """
    recall = gate.reference.recall[1]
    found = sum(
        int((~hidden & (field.calls == _TUMOUR)).sum())
        for field, hidden in zip(reference, unseen(card, reference), strict=True)
    )
    figures: dict[str, object] = {
        "held_out_tumour_cells": recall.total,
        "candidate_recall_of_tumour": round(found / max(recall.total, 1), 4),
        "call_recall_tumour": round(recall.count / max(found, 1), 4),
        "gate": gate.reason,
        "laboratory": threshold.text,
    }
    for name in ("nucleus_recall", "nucleus_precision", "overridden"):
        if name in card.figures:
            figures[name] = card.figures[name]
    return figures


class _Files:
    """What a run leaves beside `out`."""

    def __init__(self, out: Path, run: _Run, data: TrainingSet, by: By, taught: Sequence[TaughtSlide]) -> None:
        self._out, self._run, self._data, self._by, self._taught = out, run, data, by, taught

    def write(self, verdict: _Verdict, tuned: Tuned, force: bool, seconds: Callable[[], float]) -> LearnOutcome:
        """Write report, and weights and card where the gate lets them through or is overridden."""
        from dtcseg_training.learn.changes import changed_cells

        forced = force and not verdict.gate.promoted
        through = verdict.gate.promoted or forced
        info = self._forced(verdict) if forced else verdict.info
        self._run.meter.told("write", 0, "pictures of the cells whose call changed")
        changed = changed_cells(
            self._taught,
            self._data.slides,
            verdict.on_slides,
            (self._run.parent.card.tumour_threshold, verdict.threshold.tumour_threshold),
        )
        outcome = LearnOutcome(
            promoted=verdict.gate.promoted,
            forced=forced,
            reason=verdict.gate.reason,
            weights=self._out if through else None,
            challenger=info.path,
            report=self._out.with_suffix(".html"),
            card=self._out.with_suffix(".md") if through else None,
            sha256=info.sha256,
            data=_summary(self._data, self._by),
            gate=verdict.gate,
            threshold=verdict.threshold,
            changed=changed,
            seconds=round(seconds(), 1),
        )
        page = learning_page(outcome, self._run.parent, info, tuned.curves)
        with writing_to(self._out.parent):
            write_file(outcome.report, page.encode("utf-8", "replace"))
            if through:
                write_file(self._out.with_suffix(".md"), card_text(outcome, self._run.parent, info).encode())
                write_file(self._out.with_suffix(KNOWN_SUFFIX), self._known())
                write_file(self._out, info.path.read_bytes())
        self._run.meter.told("write", 1, verdict.gate.reason)
        return outcome

    def _known(self) -> bytes:
        """Tell what the weights know beyond those that they began with: the slides that were learned from."""
        learned = {slide.key for slide in self._data.learned}
        taught = [slide for slide in self._taught if slide_key(slide) in learned]
        return added_slides(self._run.parent, [(slide.root, slide.record) for slide in taught])

    def _forced(self, verdict: _Verdict) -> WeightsInfo:
        """Write into the weights that the gate was overridden."""
        card = verdict.info.card
        past = card.figures.get("overridden")
        lines = [*(past if isinstance(past, list) else []), f"{card.name}: gate overridden: {verdict.gate.reason}"]
        return verdict.challenger.written(figures={**card.figures, "overridden": lines})


def _summary(data: TrainingSet, by: By) -> SetSummary:
    cells = [cell for slide in data.slides for cell in slide.cells]
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell["call"]] = counts.get(cell["call"], 0) + 1
    return SetSummary(
        folder=data.folder,
        sha256=data.sha256,
        cells=dict(sorted(counts.items())),
        slides=len(data.slides),
        patients=len({slide.patient for slide in data.slides if slide.patient}),
        added=sum(cell["added"] for cell in cells),
        corrected=sum(cell["corrected"] for cell in cells),
        deleted=sum(cell["deleted"] for cell in cells),
        held_out=sum(len(slide.calls) for slide in data.slides if slide.held_out),
        from_controls=sum(int((~slide.said).sum()) for slide in data.slides),
        left_out=tuple(data.manifest["left_out"]),
        split_by=by,
    )
