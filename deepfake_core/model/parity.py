"""Prove that the exported graph computes what the trained model computes, on crops of real faces.

Agreement is only worth something where the model is undecided as well as where it is sure, so crops are picked for
probabilities that spread over 0.05–0.95. A model that is sure of every face gets blends of two faces on top.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from deepfake_core.aggregation import sigmoid
from deepfake_core.errors import ParityError

Crops = npt.NDArray[np.uint8]
LogitsOf = Callable[[Crops], npt.NDArray[np.float32]]

LOWEST, HIGHEST = 0.05, 0.95  # probabilities between which the crops should spread
BINS = 9  # tenths of a probability between them
BLENDED_PAIRS = 8  # of a crop that looks manipulated and one that looks original
BLEND_STEPS = 15


class ParityReport(BaseModel):
    """How far Keras and onnxruntime agree.

    Attributes:
        crops: how many were compared.
        blended: how many of them are blends of two real crops.
        max_logit_difference: the largest |Δlogit| found.
        max_probability_difference: the same for probabilities.
        allowed_logit_difference: what was allowed.
        lowest_probability: of the crops.
        highest_probability: of the crops.
        tenths_covered: how many of the nine tenths of 0.05–0.95 hold a crop.
        notes: what a reader should know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crops: int
    blended: int
    max_logit_difference: float
    max_probability_difference: float
    allowed_logit_difference: float
    lowest_probability: float
    highest_probability: float
    tenths_covered: int
    notes: tuple[str, ...] = ()


def prove_parity(
    crops: Crops, *, expected: LogitsOf, exported: LogitsOf, allowed: float, blended: int = 0
) -> ParityReport:
    """Compare two ways to the logits.

    Args:
        crops: uint8 (crops, size, size, 3), RGB.
        expected: Keras.
        exported: onnxruntime.
        allowed: largest |Δlogit|.
        blended: how many of the crops, the last ones, are blends.

    Raises:
        ParityError: they differ by more, or one of them gives no number.
    """
    wanted, got = expected(crops).astype(np.float64), exported(crops).astype(np.float64)
    difference = np.abs(wanted - got)
    worst = int(np.argmax(np.where(np.isfinite(difference), difference, np.inf)))
    if not np.all(difference <= allowed):
        message = (
            f"the exported model is not the trained one: on crop {worst} of {len(crops)} Keras gives the logit "
            f"{wanted[worst]:.6g}, onnxruntime {got[worst]:.6g}; {allowed:g} apart is allowed "
            "(export.max_logit_difference). Nothing was exported."
        )
        raise ParityError(message)
    probabilities = sigmoid(got)
    covered = len(tenths(probabilities))
    notes = []
    if covered < BINS:
        notes.append(
            f"the model's probabilities reach {covered} of {BINS} tenths of {LOWEST}–{HIGHEST}: "
            f"{probabilities.min():.3f}–{probabilities.max():.3f}"
        )
    return ParityReport(
        crops=len(crops),
        blended=blended,
        max_logit_difference=float(difference.max()),
        max_probability_difference=float(np.abs(sigmoid(wanted) - probabilities).max()),
        allowed_logit_difference=allowed,
        lowest_probability=float(probabilities.min()),
        highest_probability=float(probabilities.max()),
        tenths_covered=covered,
        notes=tuple(notes),
    )


def spread(logits: npt.ArrayLike, *, count: int) -> list[int]:
    """Return the indices, sorted, of ``count`` logits whose probabilities lie as evenly as can be over 0.05–0.95.

    The lowest and the highest logit are always among them.
    """
    probabilities = sigmoid(logits)
    if len(probabilities) <= count:
        return list(range(len(probabilities)))
    chosen = {int(np.argmin(logits)), int(np.argmax(logits))}
    free = np.ones(len(probabilities), dtype=np.bool_)
    free[list(chosen)] = False
    for target in np.linspace(LOWEST, HIGHEST, count):
        if len(chosen) == count:
            break
        nearest = int(np.argmin(np.where(free, np.abs(probabilities - target), np.inf)))
        free[nearest] = False
        chosen.add(nearest)
    return sorted(chosen)


def tenths(probabilities: Sequence[float] | npt.NDArray[Any]) -> set[int]:
    """Return which of the nine tenths of 0.05–0.95 hold a probability, by number from 0."""
    values = np.asarray(probabilities)
    inside = values[(values >= LOWEST) & (values <= HIGHEST)]
    width = (HIGHEST - LOWEST) / BINS
    return {min(int((value - LOWEST) / width), BINS - 1) for value in inside}


def blend_into_gaps(crops: Crops, logits: npt.NDArray[np.float32], *, logits_of: LogitsOf) -> Crops:
    """Blend crops that look original with crops that look manipulated, where real ones leave tenths empty.

    Args:
        crops: uint8 (crops, size, size, 3).
        logits: of the crops.
        logits_of: gives the logits of blends.

    Returns:
        Blends whose probabilities lie in tenths that no crop is in, at most one a tenth; there may be none.
    """
    missing = set(range(BINS)) - tenths(sigmoid(logits))
    if not missing or len(crops) < 2:
        return crops[:0]
    order = np.argsort(logits)
    pairs = min(BLENDED_PAIRS, len(crops) // 2)
    low, high = crops[order[:pairs]].astype(np.float32), crops[order[::-1][:pairs]].astype(np.float32)
    shares = np.linspace(0, 1, BLEND_STEPS + 2)[1:-1]
    blends = np.concatenate([np.rint(low + share * (high - low)).astype(np.uint8) for share in shares])
    probabilities = sigmoid(logits_of(blends))
    found: dict[int, int] = {}
    for index, probability in enumerate(probabilities):
        for tenth in tenths([probability]) & missing:
            found.setdefault(tenth, index)
    return blends[sorted(found.values())]
