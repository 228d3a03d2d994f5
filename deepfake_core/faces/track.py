"""Follow one face through a video.

``track`` starts with the largest face and stays with it by overlap; when it is gone for a while, the largest face of
that moment is followed and a new track begins: a *jump*. ``largest`` is the notebook's rule, the largest box of every
frame whoever it belongs to; its jumps are counted alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deepfake_core.faces.box import Box, overlap
from deepfake_core.specs import MainFace

SAME_FACE = 0.2
"""Least overlap (IoU) of one face in neighbouring sampled frames; heads move by up to half a face in four frames."""
PATIENCE = 3
"""Sampled frames for which a lost face is waited for while other faces are in sight."""


@dataclass(frozen=True)
class Followed:
    """The face chosen in one frame: its box and the number of its track, from 0."""

    box: Box
    track: int


@dataclass(frozen=True)
class FaceTrack:
    """State of following; ``choose`` returns the next state and changes nothing, so that a caller can look ahead.

    Attributes:
        main_face: the rule.
        last: the face where it was last seen; None before the first.
        missed: sampled frames since then in which only other faces were seen.
    """

    main_face: MainFace
    last: Followed | None = None
    missed: int = 0

    @property
    def jumps(self) -> int:
        """How often the followed face was lost and another one taken."""
        return 0 if self.last is None else self.last.track

    def choose(self, boxes: Sequence[Box]) -> tuple["FaceTrack", Followed | None]:
        """Choose the main face of the next frame; None where there is no face, or not the followed one."""
        if not boxes:
            return self, None
        largest = max(boxes, key=lambda box: box.area)
        if self.last is None:
            return self._seen(Followed(largest, 0))
        nearest = max(boxes, key=lambda box: overlap(self._last_box, box))
        followed = overlap(self._last_box, nearest) >= SAME_FACE
        if self.main_face == "largest":
            same = overlap(self._last_box, largest) >= SAME_FACE
            return self._seen(Followed(largest, self.last.track + (not same)))
        if followed:
            return self._seen(Followed(nearest, self.last.track))
        if self.missed < PATIENCE:
            return replace(self, missed=self.missed + 1), None
        return self._seen(Followed(largest, self.last.track + 1))

    @property
    def _last_box(self) -> Box:
        if self.last is None:
            message = "no face was seen yet"
            raise ValueError(message)
        return self.last.box

    def _seen(self, followed: Followed) -> tuple["FaceTrack", Followed]:
        return replace(self, last=followed, missed=0), followed
