"""What is refused as no video, and what must not be: trimmed videos, foreign titles, headers that lie."""

import struct

import av
import cv2
import pytest

from deepfake_core.data.verify import verify_file
from deepfake_core.errors import MediaError
from deepfake_core.faces.container import scan_packets
from deepfake_core.faces.video import iter_frames, probe_video

GROUPS_OF_TEN = {"x264-params": "keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0"}
TICKS_PER_FRAME = 512
"""Of the media's clock in the MP4 files of these tests; the film's own clock has 40 ticks a frame."""


@pytest.fixture
def trimmed(tmp_path, write_video, pictures):
    """Return a function that writes 50 frames whose edit list shows only some, as phones trim videos."""

    def write(*, start=0, frames=50):
        data = bytearray(write_video(tmp_path / "whole.mp4", pictures(50), options=GROUPS_OF_TEN).read_bytes())
        place = data.index(b"elst") + 12  # behind the name, the version with flags, and the number of entries
        _, first = struct.unpack_from(">Ii", data, place)
        struct.pack_into(">Ii", data, place, 40 * frames, first + TICKS_PER_FRAME * start)
        path = tmp_path / "trimmed.mp4"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("trim", [{"start": 13}, {"start": 10}, {"frames": 25}, {"start": 7, "frames": 30}])
def test_a_trimmed_video_is_whole(trimmed, hold_against_opencv, trim):
    path = trimmed(**trim)

    assert 20 < hold_against_opencv(path, (1, 0), (4, 2)) < 45
    assert verify_file(path)["status"] == "ok"


def test_a_video_without_its_tail_is_not_taken_for_a_trimmed_one(truncated_video, pictures):
    path = truncated_video(pictures(60))

    assert scan_packets(path).expected == 60
    assert "its tail is missing" in verify_file(path)["reason"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_title_in_another_encoding_is_no_reason_to_refuse_a_video(tmp_path, pictures, suffix):
    path = tmp_path / f"video{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "ZZrich 2019"
        encode(container, pictures(5))
    path.write_bytes(path.read_bytes().replace(b"ZZrich", "Zürich".encode("latin-1")))

    assert probe_video(path).frames == 5
    assert [frame.index for frame in iter_frames(path, step=4)] == [0, 4]
    assert verify_file(path)["status"] == "ok"


def test_a_codec_that_nobody_knows_is_refused_with_a_sentence(tmp_path, write_video, pictures):
    path = write_video(tmp_path / "video.mp4", pictures(5))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"avc1", b"xyz9"))

    for look in (probe_video, lambda path: list(iter_frames(path, step=1))):
        with pytest.raises(MediaError, match=r"video\.mp4: is of a codec that FFmpeg cannot decode"):
            look(path)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".bmp", ".tiff", ".webp", ".jp2", ".gif", ".avif"])
def test_a_still_image_is_no_video_whatever_its_name(tmp_path, pictures, kind):
    try:
        _, data = cv2.imencode(kind, pictures(1)[0])
    except cv2.error:
        pytest.skip(f"this OpenCV writes no {kind}")
    path = tmp_path / "image.mp4"
    path.write_bytes(data.tobytes())

    refused_as_image(path)


@pytest.mark.parametrize(("form", "codec", "pix_fmt"), [("ico", "bmp", "bgra"), ("gif", "gif", "rgb8")])
def test_an_image_written_by_ffmpeg_is_no_video_either(tmp_path, pictures, form, codec, pix_fmt):
    path = tmp_path / "image.mp4"
    with av.open(str(path), "w", format=form) as container:
        encode(container, pictures(1), codec=codec, pix_fmt=pix_fmt)

    refused_as_image(path)


@pytest.mark.parametrize("brand", [b"avif", b"heic", b"heix", b"mif1"])
def test_a_file_that_calls_itself_an_image_is_no_video(tmp_path, write_video, pictures, brand):
    path = write_video(tmp_path / "image.mp4", pictures(1))
    data = path.read_bytes()
    assert data[4:12] == b"ftypisom"
    path.write_bytes(data[:8] + brand + data[12:])

    refused_as_image(path)


def test_a_moving_gif_is_a_video(tmp_path, pictures):
    path = tmp_path / "moving.gif"
    with av.open(str(path), "w") as container:
        encode(container, pictures(3), codec="gif", pix_fmt="rgb8")

    assert [frame.index for frame in iter_frames(path, step=1)] == [0, 1, 2]


def refused_as_image(path):
    for look in (probe_video, lambda path: list(iter_frames(path, step=4))):
        with pytest.raises(MediaError, match=r"image\.mp4: is a still image \(\w+\), not a video\."):
            look(path)


def encode(container, frames, *, codec="libx264", pix_fmt="yuv420p"):
    """Encode frames into an open container."""
    stream = container.add_stream(codec, rate=25)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pix_fmt
    for pixels in frames:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
    container.mux(stream.encode())
