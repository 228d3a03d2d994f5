"""Frames to H.264 at the two qualities of FaceForensics++.

Every video is encoded in the same way, originals and fakes alike: same encoder, settings, group of pictures, pixel
format and metadata.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av

from deepfake_core import files
from deepfake_core.sample.render import Frame

CRF = {"c23": 23, "c40": 40}
"""Constant rate factor by compression."""

PRESET = "fast"

REPEATABLE = "mbtree=0"
"""x264's macroblock tree spends bits a little differently from run to run; without it equal frames give equal files."""


def write_videos(paths: Mapping[str, Path], frames: Sequence[Frame], *, fps: int) -> None:
    """Encode ``frames`` once a compression.

    Args:
        paths: where the video of each compression goes; each file appears whole or not at all.
        frames: each (height, width, 3) uint8 RGB.
        fps: frames a second.
    """
    pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p") for frame in frames]
    for compression, path in paths.items():
        with files.replacing(path) as temporary:
            _encode(temporary, pictures, crf=CRF[compression], fps=fps)


def _encode(path: Path, pictures: Sequence[av.VideoFrame], *, crf: int, fps: int) -> None:
    # bitexact: the file does not tell which version of FFmpeg wrote it, so equal work gives equal bytes
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"crf": str(crf), "preset": PRESET, "threads": "1", "x264-params": REPEATABLE}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height = pictures[0].width, pictures[0].height
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.codec_context.thread_count = 1
        for index, picture in enumerate(pictures):
            picture.pts, picture.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
