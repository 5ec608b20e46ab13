"""The arms of a trial: who is in which, and what `dtcseg.trial.cohort` says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtcseg.results.text import one_line
from dtcseg.trial.cohort import Bar, CohortFit, DtcFree, Line, Visit, dtc_free, fit_cohort, spaghetti, waterfall

if TYPE_CHECKING:
    from dtcseg.report.specimens import Specimen
    from dtcseg.report.timepoints import Order


@dataclass(frozen=True)
class ArmsResult:
    """The arms compared.

    Attributes
    ----------
    times : tuple of str
        Names of the time points; a visit's time is the place in it, so the line of time has equal steps.
    arms : dict of str to int
        Patients of each arm that have a visit.
    control : str
        Empty where no arm is said to be the control.
    fit : CohortFit or None
        None where the regression could not be done.
    enrolled_positive : bool
        Every patient had DTC at the first time point, so the regression takes that for the reason to be in the trial.
    free : tuple of DtcFree
    bars : dict of str to tuple of Bar
        Waterfall by time point.
    lines : tuple of Line
    """

    times: tuple[str, ...]
    arms: dict[str, int]
    control: str
    fit: CohortFit | None
    enrolled_positive: bool
    free: tuple[DtcFree, ...]
    bars: dict[str, tuple[Bar, ...]]
    lines: tuple[Line, ...]


def compare_arms(
    found: Iterable[Specimen], arms: Mapping[str, str], control: str, order: Order
) -> tuple[ArmsResult | None, list[str]]:
    """Compare the arms.

    Returns
    -------
    (ArmsResult or None, list of str)
        None where no patient of the table has a result; with what is amiss, one line each.
    """
    there = [one for one in found if one.named and one.assessable and order.known(one.timepoint)]
    patients = {one.patient for one in there}
    warnings = _amiss(arms, patients)
    own = [one for one in there if one.patient in arms]
    if not own:
        return None, warnings
    times = tuple(name for name in order.names if any(one.timepoint == name for one in own))
    visits = [
        Visit(one.patient, arms[one.patient], float(times.index(one.timepoint)), one.dtc, one.screened.mnc)
        for one in own
    ]
    arm_names = sorted({visit.arm for visit in visits})
    started = {visit.patient for visit in visits if visit.time == 0.0 and visit.count > 0}
    enrolled = started == {visit.patient for visit in visits}
    fit = None
    if control and len(arm_names) > 1:
        try:
            fit = fit_cohort(visits, control, enrolled_positive=enrolled)
        except (ValueError, ArithmeticError) as error:
            warnings.append(f"arms are not compared by regression: {one_line(error)}")
    return ArmsResult(
        times=times,
        arms={arm: len({visit.patient for visit in visits if visit.arm == arm}) for arm in arm_names},
        control=control,
        fit=fit,
        enrolled_positive=enrolled,
        free=tuple(dtc_free(visits)),
        bars={name: tuple(waterfall(visits, float(at))) for at, name in enumerate(times) if at > 0},
        lines=tuple(spaghetti(visits)),
    ), warnings


def _amiss(arms: Mapping[str, str], patients: set[str]) -> list[str]:
    warnings = []
    without = sorted(set(arms) - patients)
    if without:
        names = ", ".join(repr(one_line(name)) for name in without[:5]) + (" …" if len(without) > 5 else "")
        warnings.append(f"arms.csv: {len(without)} of its patients have no result here: {names}")
    armless = sorted(patients - set(arms))
    if armless:
        names = ", ".join(repr(one_line(name)) for name in armless[:5]) + (" …" if len(armless) > 5 else "")
        warnings.append(f"arms.csv: {len(armless)} patients are in no arm and no part of the comparison: {names}")
    return warnings
