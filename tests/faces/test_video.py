"""Exactly the sampled frames, with exactly OpenCV's pixels, whatever the file looks like."""

import struct
import tracemalloc

import av
import cv2
import numpy as np
import pytest

from deepfake_core.errors import MediaError
from deepfake_core.faces.video import iter_frames, probe_video

KINDS = {
    "4:2:0 with B-frames": {"suffix": ".mp4", "pix_fmt": "yuv420p", "options": {"bf": "3"}},
    "4:4:4": {"suffix": ".mp4", "pix_fmt": "yuv444p"},
    "4:2:2": {"suffix": ".mp4", "pix_fmt": "yuv422p"},
    "full range": {"suffix": ".mp4", "pix_fmt": "yuvj420p"},
    "no B-frames": {"suffix": ".mp4", "options": {"bf": "0"}},
    "B-pyramid, many references": {"suffix": ".mp4", "options": {"bf": "8", "b-pyramid": "normal", "refs": "6"}},
    "short groups": {"suffix": ".mp4", "options": {"g": "5"}},
    "open groups": {"suffix": ".mp4", "options": {"x264-params": "open-gop=1:keyint=8"}},
    "10 bit": {"suffix": ".mp4", "pix_fmt": "yuv420p10le"},
    "Matroska": {"suffix": ".mkv"},
    "transport stream": {"suffix": ".ts"},
    "MPEG-4": {"suffix": ".mp4", "codec": "mpeg4"},
    "MPEG-4 in AVI": {"suffix": ".avi", "codec": "mpeg4"},
    "VP9": {"suffix": ".webm", "codec": "libvpx-vp9"},
    "H.265": {"suffix": ".mp4", "codec": "libx265", "options": {"x265-params": "log-level=none"}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_frames_are_the_ones_that_opencv_reads(tmp_path, write_video, pictures, hold_against_opencv, kind):
    making = dict(KINDS[kind])
    path = write_video(tmp_path / f"video{making.pop('suffix')}", pictures(31), **making)

    assert hold_against_opencv(path, (4, 0), (4, 2), (1, 0), (7, 3)) == 31


GROUPS_OF_EIGHT = "keyint=8:min-keyint=8:scenecut=0:bframes=3:b-adapt=0"
GROUPS_OF_TEN = "keyint=10:min-keyint=10:scenecut=0:bframes=3:b-adapt=0"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("start", "x264"),
    [
        pytest.param(9, f"{GROUPS_OF_TEN}:open-gop=1", id="one picture before the first key picture"),
        pytest.param(5, f"{GROUPS_OF_EIGHT}:open-gop=1:b-pyramid=none", id="three disposable ones"),
        pytest.param(3, f"{GROUPS_OF_TEN}:open-gop=0", id="no key picture"),
    ],
)
def test_frames_at_the_start_that_do_not_decode_are_not_counted(
    tmp_path, write_video, pictures, hold_against_opencv, suffix, start, x264
):
    whole = write_video(tmp_path / "whole.mp4", pictures(50), options={"x264-params": x264})
    path = copied(whole, tmp_path / f"part{suffix}", start=start)

    assert hold_against_opencv(path, (1, 0), (4, 0), (4, 2), (7, 3)) < 50 - start


def test_timestamps_that_are_those_of_decoding_are_not_believed(tmp_path, write_video, pictures, read_with_opencv):
    whole = write_video(tmp_path / "whole.mp4", pictures(50), options={"x264-params": GROUPS_OF_TEN})
    path = copied(whole, tmp_path / "video.mkv", decoding_times=True)
    reference = read_with_opencv(path)

    for step in (1, 3):
        frames = list(iter_frames(path, step=step))

        assert [frame.index for frame in frames] == list(range(0, 50, step))
        for frame in frames:
            np.testing.assert_array_equal(frame.bgr(), reference[frame.index])


def test_packets_that_no_sampled_frame_needs_are_not_decoded(tmp_path, write_video, pictures):
    path = write_video(tmp_path / "video.mp4", pictures(60), options={"bf": "3", "b-adapt": "0"})

    reader = iter_frames(path, step=4)
    sampled = [frame.index for frame in reader]

    assert sampled == list(range(0, 60, 4))
    assert reader.decoded <= 40
    assert reader.lost == ()


def test_sampling_stops_after_max_frames(tmp_path, write_video, pictures):
    path = write_video(tmp_path / "video.mp4", pictures(60))

    reader = iter_frames(path, step=4, offset=2, max_frames=3)

    assert [frame.index for frame in reader] == [2, 6, 10]
    assert reader.decoded < 30
    assert reader.lost == ()


def test_a_video_shorter_than_the_offset_gives_nothing(tmp_path, write_video, pictures):
    path = write_video(tmp_path / "video.mp4", pictures(2))

    reader = iter_frames(path, step=4, offset=2)

    assert list(reader) == []
    assert reader.lost == ()


@pytest.mark.parametrize("size", [(161, 121), (35, 77), (162, 90)])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p"])
def test_odd_sizes_are_read(tmp_path, write_video, pictures, read_with_opencv, size, pix_fmt):
    if pix_fmt == "yuv420p" and (size[0] % 2 or size[1] % 2):
        codec, options = "mpeg4", {}
    else:
        codec, options = "libx264", {}
    path = write_video(
        tmp_path / "video.mp4",
        pictures(6, width=size[0], height=size[1]),
        codec=codec,
        pix_fmt="yuv420p" if codec == "mpeg4" else pix_fmt,
        options=options,
    )
    reference = read_with_opencv(path)

    frames = list(iter_frames(path, step=2))

    assert [frame.index for frame in frames] == [0, 2, 4]
    for frame in frames:
        assert (frame.width, frame.height) == size
        np.testing.assert_array_equal(frame.bgr(), reference[frame.index])


def test_variable_frame_rate_counts_frames_and_keeps_their_times(tmp_path, write_irregular_video, read_with_opencv):
    durations = [40, 40, 120, 33, 7, 500, 40, 40, 41, 39, 200, 40]
    path = write_irregular_video(tmp_path / "video.mp4", durations)
    reference = read_with_opencv(path)

    frames = list(iter_frames(path, step=3))

    assert [frame.index for frame in frames] == [0, 3, 6, 9]
    assert [frame.seconds for frame in frames] == pytest.approx([0.0, 0.2, 0.74, 0.861], abs=0.002)
    for frame in frames:
        np.testing.assert_array_equal(frame.bgr(), reference[frame.index])


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("convert", ["frame", "planes"])
def test_a_rotated_video_is_seen_upright(tmp_path, pictures, read_with_opencv, degrees, convert):
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.set_display_rotation(degrees)
        for pixels in pictures(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    reference = read_with_opencv(path)

    frames = list(iter_frames(path, step=4, convert=convert))

    assert probe_video(path).rotation in (degrees, 360 - degrees)
    for frame in frames:
        assert (frame.height, frame.width) == reference[frame.index].shape[:2]
        np.testing.assert_array_equal(frame.region(10, 20, 90, 100), reference[frame.index][20:100, 10:90])
        assert max(frame.small(80).shape[:2]) == 80
        assert (frame.small(80).shape[0] > frame.small(80).shape[1]) == (frame.height > frame.width)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le"])
def test_cropping_the_planes_changes_pixels_by_less_than_the_promised_mean(tmp_path, write_video, pictures, pix_fmt):
    path = write_video(tmp_path / "video.mp4", pictures(9, width=320, height=240), pix_fmt=pix_fmt)
    whole = list(iter_frames(path, step=4))
    parts = list(iter_frames(path, step=4, convert="planes"))

    for frame, part in zip(whole, parts, strict=True):
        for x1, y1, x2, y2 in ((31, 17, 200, 180), (0, 0, 320, 240), (311, 229, 320, 240), (50, 61, 51, 62)):
            crop = part.region(x1, y1, x2, y2)
            assert crop.shape == (y2 - y1, x2 - x1, 3)
            difference = np.abs(crop.astype(int) - frame.region(x1, y1, x2, y2).astype(int))
            assert difference.mean() <= 1.5


@pytest.mark.parametrize("size", [(161, 121), (35, 77), (160, 121), (161, 120)])
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "mpeg4"), (".webm", "libvpx-vp9")])
def test_planes_keep_that_promise_where_colour_does_not_fit_into_the_frame(
    tmp_path, write_video, pictures, suffix, codec, size
):
    width, height = size
    path = write_video(tmp_path / f"video{suffix}", pictures(3, width=width, height=height), codec=codec)
    (whole,), (part,) = (iter_frames(path, step=4, convert=convert) for convert in ("frame", "planes"))

    for x1, y1, x2, y2 in ((0, 0, width, height), (width // 3, height // 3, width, height), (1, 1, 20, 30)):
        difference = np.abs(part.region(x1, y1, x2, y2).astype(int) - whole.region(x1, y1, x2, y2).astype(int))
        assert difference.mean() <= 1.5


@pytest.mark.parametrize("convert", ["frame", "planes"])
def test_an_interlaced_video_shows_the_pictures_that_were_put_in(tmp_path, write_video, convert):
    drawn = [smooth(index) for index in range(9)]
    path = write_video(tmp_path / "video.mp4", drawn, options={"x264-params": "interlaced=1", "crf": "10"})

    frames = list(iter_frames(path, step=4, convert=convert))

    assert [frame.index for frame in frames] == [0, 4, 8]
    for frame in frames:
        shown = np.ascontiguousarray(drawn[frame.index][..., ::-1])
        small = cv2.resize(shown, (80, 60), interpolation=cv2.INTER_AREA)
        assert np.abs(frame.region(0, 0, 160, 120).astype(int) - shown.astype(int)).mean() < 3
        assert np.abs(frame.small(80).astype(int) - small.astype(int)).mean() < 3


@pytest.mark.parametrize("convert", ["frame", "planes"])
@pytest.mark.parametrize(
    "look",
    [lambda frame: frame.bgr(), lambda frame: frame.small(80), lambda frame: frame.region(10, 10, 50, 50)],
    ids=["whole", "small", "region"],
)
def test_colours_that_ffmpeg_cannot_convert_are_the_videos_fault(tmp_path, write_video, pictures, look, convert):
    path = write_video(tmp_path / "video.mp4", pictures(5), options={"x264-params": "colormatrix=YCgCo"})
    *_, frame = iter_frames(path, step=4, convert=convert)

    with pytest.raises(MediaError, match=r"frame 4: its colours cannot be converted \(.+\)\."):
        look(frame)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le"])
def test_a_small_frame_is_what_opencv_would_shrink_it_to(tmp_path, write_video, pictures, pix_fmt):
    video = write_video(tmp_path / "video.mp4", pictures(1, width=320, height=240), pix_fmt=pix_fmt)
    frame = next(iter_frames(video, step=1))

    small = frame.small(80)

    assert small.shape == (60, 80, 3)
    shrunk = cv2.resize(frame.bgr(), (80, 60), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - shrunk.astype(int)).mean() < 3
    assert frame.small(0).shape == frame.small(4000).shape == (240, 320, 3)


def test_a_truncated_tail_loses_named_frames_and_no_others(truncated_video, tmp_path, pictures, read_with_opencv):
    path = truncated_video(pictures(60))
    reference = read_with_opencv(tmp_path / "whole.mp4")

    reader = iter_frames(path, step=4)
    frames = list(reader)

    assert 5 < len(frames) < 15
    assert [frame.index for frame in frames] + list(reader.lost) == list(range(0, 60, 4))
    for frame in frames[:-1]:
        np.testing.assert_array_equal(frame.bgr(), reference[frame.index])


def test_damage_in_the_middle_costs_frames_and_not_the_video(tmp_path, write_video, pictures):
    path = write_video(tmp_path / "video.mp4", pictures(60), options={"g": "10"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    data[start : start + 3000] = bytes(3000)
    path.write_bytes(bytes(data))

    reader = iter_frames(path, step=4)
    frames = [frame.index for frame in reader]

    assert len(frames) >= 8
    assert sorted([*frames, *reader.lost]) == list(range(0, 60, 4))


def test_a_header_that_promises_millions_of_frames_costs_no_memory(tmp_path, write_video, pictures):
    path = write_video(tmp_path / "video.avi", pictures(20), codec="mpeg4")
    promise_frames(path, 0x0FFFFFFF)

    tracemalloc.start()
    try:
        reader = iter_frames(path, step=4)
        frames = [frame.index for frame in reader]
        ranges = reader.gaps
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert frames == [0, 4, 8, 12, 16]
    assert ranges == (range(20, path.stat().st_size, 4),)  # no frame takes less than a byte
    assert peak < 4 << 20


def test_a_file_without_its_index_is_unreadable(tmp_path, write_video, pictures):
    whole = write_video(tmp_path / "whole.mp4", pictures(20))
    path = tmp_path / "half.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    with pytest.raises(MediaError, match=r"half\.mp4: is not a video that can be opened"):
        iter_frames(path, step=1)


def test_what_is_no_video_is_refused_with_a_sentence(tmp_path, write_video, pictures):
    empty, text, image = tmp_path / "empty.mp4", tmp_path / "text.mp4", tmp_path / "image.mp4"
    empty.touch()
    text.write_text("not a video\n" * 100)
    image.write_bytes(cv2.imencode(".jpg", pictures(1)[0])[1].tobytes())
    png = tmp_path / "png.mp4"
    png.write_bytes(cv2.imencode(".png", pictures(1)[0])[1].tobytes())
    cases = {
        empty: "empty.mp4: is empty",
        text: "text.mp4: is not a video that can be opened",
        image: "image.mp4: is a still image",
        png: "png.mp4: is a still image",
        tmp_path: "there is no such file",
        tmp_path / "nowhere.mp4": "there is no such file",
        sound(tmp_path / "sound.mp4"): "sound.mp4: holds no video stream, only audio",
        without_streams(tmp_path / "none.mp4"): r"none\.mp4: holds no video stream and nothing else either\.",
        without_frames(tmp_path / "zero.mp4"): r"zero\.mp4: holds a video stream without any frame\.",
    }

    for path, words in cases.items():
        for look in (probe_video, lambda path: list(iter_frames(path, step=4))):
            with pytest.raises(MediaError, match=words):
                look(path)


def test_one_8k_frame_is_read(tmp_path):
    path = tmp_path / "8k.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(7680, 4320, "yuv420p")))
        container.mux(stream.encode())

    (frame,) = iter_frames(path, step=4, convert="planes")

    assert (frame.width, frame.height) == (7680, 4320)
    assert frame.small(320).shape == (180, 320, 3)
    assert frame.region(7000, 4000, 7680, 4320).shape == (320, 680, 3)


@pytest.mark.parametrize(
    "name", ["Zürich – 深層偽造 😀.mp4", "n" * 251 + ".mp4", "100%d.mp4", "http:--host.mp4", "a:b|c.mp4", "-i.mp4"]
)
def test_names_of_any_kind_are_just_names(tmp_path, write_video, pictures, name):
    made = write_video(tmp_path / "plain.mp4", pictures(5))
    path = made.rename(tmp_path / name)

    assert [frame.index for frame in iter_frames(path, step=4)] == [0, 4]
    assert probe_video(path).frames == 5


def test_a_playlist_reaches_no_other_file(tmp_path, write_video, pictures):
    secret = write_video(tmp_path / "secret.mp4", pictures(5))
    playlist = tmp_path / "video.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile '{secret}'\n")

    with pytest.raises(MediaError):
        list(iter_frames(playlist, step=1))


def test_a_probe_says_what_is_in_the_file(tmp_path, write_video, pictures):
    info = probe_video(write_video(tmp_path / "video.mp4", pictures(50), pix_fmt="yuv444p"))

    assert (info.codec, info.pix_fmt, info.rotation) == ("h264", "yuv444p", 0)
    assert (info.width, info.height, info.frames) == (160, 120, 50)
    assert (info.fps, info.duration) == pytest.approx((25.0, 2.0))


def smooth(index):
    """Return a picture without edges, (120, 160, 3) uint8 RGB, whose colours wander from frame to frame."""
    across, down = np.meshgrid(np.arange(160), np.arange(120))
    red, green, blue = 40 + across + 2 * index, 40 + down + 4 * index, 200 - across // 2 - down // 2
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def sound(path):
    """Write a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 8000
        frame.planes[0].update(bytes(4096))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def without_streams(path):
    """Begin a video into which no frame is put: FFmpeg then writes no stream either."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.start_encoding()
    return path


def without_frames(path):
    """Write the head of a fragmented video, which announces a stream, and none of its fragments."""
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(160, 120, "yuv420p")))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    return path


def copied(source, path, *, start=0, decoding_times=False):
    """Copy the packets of a video from number ``start`` on, as cutting tools do that do not decode."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as part:
        stream = part.add_stream_from_template(whole.streams.video[0])
        packets = (packet for packet in whole.demux(video=0) if packet.size)
        for packet in list(packets)[start:]:
            if decoding_times:
                packet.pts = packet.dts
            packet.stream = stream
            part.mux(packet)
    return path


def promise_frames(path, count):
    """Write another number of frames into both headers of an AVI file."""
    data = bytearray(path.read_bytes())
    for name, place in ((b"avih", 24), (b"strh", 40)):
        struct.pack_into("<I", data, data.index(name) + place, count)
    path.write_bytes(data)
