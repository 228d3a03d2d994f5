"""Small frozen values that configuration and model contract both speak of.

They say how pixels become face crops. Training data is made with them, they travel inside the exported model,
and scoring takes them from there: a model never meets crops made in another way.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

DetectorName = Literal["haar", "yunet", "yolo"]
MainFace = Literal["track", "largest"]


class Spec(BaseModel):
    """Base of frozen values: no unknown keys, no changes, equal content means equal objects."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def fingerprint_values(self) -> dict[str, Any]:
        """Return the values that decide what the output looks like, as JSON-like values."""
        return self.model_dump(mode="json")


class FaceSpec(Spec):
    """From a face box to a JPEG crop.

    Attributes:
        size: side of the crop in pixels; it is the model's input side too, there is no second resize.
        margin: factor by which the box grows about its centre before it is cut out (the notebook's 1.3).
        square: widen the shorter side first, so that faces keep their proportions; False is the notebook's stretch.
        interpolation: OpenCV resampling: ``area`` (best for shrinking), ``linear`` (the notebook's) or ``cubic``.
        colour: order of the channels that enter the model.
        jpeg_quality: OpenCV JPEG quality, 1 to 100.
        convert: ``frame`` converts the whole frame to BGR before cropping; ``planes`` crops the Y, U and V planes and
            converts only the crop (much cheaper, mean difference at most 1.5 levels). Where the planes do not allow it
            (10 bits, rotated, odd sizes of 4:2:0), it converts the frame too.
    """

    size: Annotated[int, Field(ge=32, le=1024)] = 299
    margin: Annotated[float, Field(ge=1.0, le=4.0)] = 1.3
    square: bool = True
    interpolation: Literal["area", "linear", "cubic"] = "area"
    colour: Literal["RGB"] = "RGB"
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 95
    convert: Literal["frame", "planes"] = "frame"


class DetectorSpec(Spec):
    """How faces are found and which one is followed.

    Attributes:
        name: ``haar`` (ships inside OpenCV), ``yunet`` (the boxes of OpenCV's FaceDetectorYN) or ``yolo`` (any
            Ultralytics weights).
        weights_sha256: digest of the weights; null only for ``haar``, whose file belongs to OpenCV.
        input_side: longest side in pixels that the detector sees; larger frames are shrunk for detection only.
            Zero: the frame as it is.
        min_confidence: detections below it are dropped (``haar`` has no confidence and reports 1.0).
        min_face: smallest face side as a share of the frame's height.
        class_id: which class of a ``yolo`` model is a face (COCO weights: 0 is *person*, the notebook's choice).
        main_face: ``track`` follows one face by overlap; ``largest`` takes the largest box of each frame.
        detect_every: detect on every k-th sampled frame and interpolate between, guarded by re-detection. Of frames
            larger than 4K no more are held than memory allows: of 8K four, whatever k.
    """

    name: DetectorName = "yunet"
    weights_sha256: Sha256 | None = None
    input_side: Annotated[int, Field(ge=0, le=4096)] = 320
    min_confidence: Fraction = 0.6
    min_face: Fraction = 0.0
    class_id: Annotated[int, Field(ge=0)] = 0
    main_face: MainFace = "track"
    detect_every: Annotated[int, Field(ge=1, le=16)] = 1


class SamplingSpec(Spec):
    """Which frames of a video are looked at: every ``step``-th, starting at an offset.

    Attributes:
        step: distance of sampled frames; 4 is the notebook's.
        offsets: first sampled frame by compression, where it is not 0; the notebook takes 2 for c40, so that the two
            compressions of one video show different frames.
        max_frames: stop after this many sampled frames; null: sample to the end.
    """

    step: Annotated[int, Field(ge=1, le=1000)] = 4
    offsets: dict[str, Annotated[int, Field(ge=0)]] = {"c40": 2}
    max_frames: Annotated[int, Field(ge=1)] | None = None

    def offset_of(self, compression: str) -> int:
        """Return the first sampled frame of videos of ``compression``."""
        return self.offsets.get(compression, 0)
