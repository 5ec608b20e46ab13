"""What a candidate's score is worth beside the candidates like it on the same slide.

The look sees one crop. A reader sees the slide: where dozens of cells hold the same faint granules, and none of them is
plainly a tumour cell, they do not take the likeliest of the dozen for one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_ALIKE_CK, _ALIKE_DIAMETER = 0.25, 0.2
"""Two candidates are alike as far as the logarithms of their cytokeratin and diameter differ by no more than about this
(standard deviations of a Gaussian). Set by judgement; widths of 0.4 and 0.3, or 0.18 and 0.14, did about as well."""
_LEAST_CK_OD = 0.03
_LEAST_DOUBT = 0.01
"""Candidates of a lower score are no tumour cells to the look, whatever they look like: they cast no doubt."""
_SURE_SHARE = 0.3
"""How much a candidate that is called counts for those like it, next to one that is doubted against them. At 0
the doubt cost 17 of 414 tumour cells in a laboratory that has many, at 0.3 two; at 1 it took 12 of 54 false
calls away, for 19."""
_DOUBTFUL_STANDING = 0.5
"""Of the odds that a candidate keeps: at the cut-off of cytokeratin (`dtcseg.cutoff.positivity`)."""
_ROWS = 256


def scores_in_company(
    scores: FloatArray, standing: FloatArray, ck_od: FloatArray, diameter_um: FloatArray, tumour_threshold: float
) -> FloatArray:
    """Scores of candidates in sight of the others on their slide, never higher than without.

    The sum of the scores of those alike that are not called says how many others of their population the look nearly
    took for tumour cells, and so how many it may have taken: what is called has to stand out of it. This is the idea of
    the local false discovery rate (Efron 2004, J Am Stat Assoc 99:96), with the tail of a population told by what is
    below the threshold. The odds of a tumour cell are divided by one more than this number; where the look calls many
    that are alike, the doubt is as much smaller. The doubt grows with the slide, as the chances of a false call do.

    Candidates whose stain says that they are none cast doubt with what the look alone takes them for: where the
    leukocytes of a slide fool it by the hundred, the few of them that lie above the cut-off are doubted with the rest.

    Parameters
    ----------
    scores : (N,) float64
        Probability to be a tumour cell, as the look gives it, of all candidates of one slide.
    standing : (N,) float64
        Part of these odds that each keeps for what the slide tells of its stain, 0 to 1; under one half it is none that
        others may lean on.
    ck_od, diameter_um : (N,) float64
        Cytokeratin and size (above 0).
    tumour_threshold : float
        From which on a score is a call.

    Returns
    -------
    (N,) float64
    """
    strength = np.log(np.maximum(ck_od, _LEAST_CK_OD)) / _ALIKE_CK
    size = np.log(diameter_um) / _ALIKE_DIAMETER
    own = weighed(scores, standing)
    called = (own >= tumour_threshold) & (standing > _DOUBTFUL_STANDING)
    doubted = np.where(called | (scores < _LEAST_DOUBT), 0.0, scores)
    sure = np.where(called, own, 0.0)
    worth = np.ones(len(scores))
    for first in range(0, len(scores), _ROWS):
        rows = slice(first, first + _ROWS)
        apart = (strength[rows, None] - strength) ** 2 + (size[rows, None] - size) ** 2
        alike = np.exp(-apart / 2)
        np.fill_diagonal(alike[:, first:], 0.0)  # not by itself
        # sums of a row, not a matrix product: the same bits on any number of cores
        worth[rows] = (1 + _SURE_SHARE * (alike * sure).sum(1)) / (1 + (alike * doubted).sum(1))
    return weighed(own, np.minimum(worth, 1.0))


def weighed(scores: FloatArray, part: FloatArray) -> FloatArray:
    """Probabilities (N,) whose odds are multiplied by `part`, 0 to 1; those with a part of 1 stay bit for bit."""
    odds: FloatArray = part * scores
    return np.where(part < 1, odds / (odds + 1 - scores), scores)
