"""From a video to its faces: one item a sampled frame, whoever comes and goes."""

import tracemalloc
import weakref

import numpy as np
import pytest

from deepfake_core.errors import MediaError
from deepfake_core.faces import stream as streams
from deepfake_core.faces.crop import decode_jpegs
from deepfake_core.faces.stream import FaceCrop, FaceFailure, iter_faces
from deepfake_core.faces.video import SampledFrame
from deepfake_core.specs import DetectorSpec, FaceSpec

FACE = FaceSpec(size=64)
SPEC = DetectorSpec(name="haar", input_side=0)


@pytest.fixture
def faces_of(tmp_path, write_video, drawn_faces):
    """Return a function that encodes frames and extracts their faces: the items, and the stream they came from."""

    def extract(frames, *, spec=SPEC, face=FACE, batch=1, step=1, **options):
        path = write_video(tmp_path / "video.mp4", frames, pix_fmt="yuv444p", options={"crf": "10"})
        stream = iter_faces(path, detector=drawn_faces(batch), face=face, spec=spec, step=step, **options)
        return list(stream), stream

    return extract


def test_every_sampled_frame_gives_one_item(faces_of, draw):
    frames = [draw(("blue", 40 + 2 * index, 50, 60)) for index in range(13)]

    items, stream = faces_of(frames, step=4, offset=2)

    assert [item.frame for item in items] == [2, 6, 10]
    assert [item.seconds for item in items] == pytest.approx([0.08, 0.24, 0.4])
    for item in items:
        assert isinstance(item, FaceCrop)
        assert (item.width, item.height, item.track, item.box_source) == (320, 240, 0, "detected")
        assert item.box.x1 == pytest.approx(40 + 2 * item.frame, abs=2)
    assert stream.jumps == 0
    assert stream.frames_decoded >= 3


@pytest.mark.parametrize("convert", ["frame", "planes"])
@pytest.mark.parametrize("side", [0, 160])
def test_the_crop_shows_the_face_in_the_middle(faces_of, draw, convert, side):
    spec = SPEC.model_copy(update={"input_side": side})
    frames = [draw(("green", 100, 80, 60))] * 3

    items, _ = faces_of(frames, spec=spec, face=FaceSpec(size=64, convert=convert))

    (crop, *_) = decode_jpegs([item.jpeg for item in items])
    assert crop[32, 32, 1] > 200
    assert crop[32, 32, 0] < 60
    assert np.abs(crop[2, 2].astype(int) - 128).max() < 20
    assert items[0].box.x1 == pytest.approx(100, abs=3)
    assert items[0].box.x2 == pytest.approx(160, abs=3)


def test_no_face_is_a_row_with_a_reason_and_never_a_crop(faces_of, draw):
    items, _ = faces_of([draw()] * 5)

    assert len(items) == 5
    for item in items:
        assert isinstance(item, FaceFailure)
        assert item.reason == "no face was found"
        assert item.width == 320


def test_a_face_that_enters_late_is_cropped_from_then_on(faces_of, draw):
    items, _ = faces_of([*[draw()] * 3, *[draw(("blue", 90, 90, 50))] * 3])

    assert [type(item) for item in items] == [FaceFailure] * 3 + [FaceCrop] * 3


def test_one_of_two_people_is_followed(faces_of, draw):
    frames = [draw(("blue", 20, 20, 80), ("red", 200, 100, 40 + 10 * index)) for index in range(8)]

    items, stream = faces_of(frames)

    assert {item.track for item in items} == {0}
    assert all(item.box.x1 < 100 for item in items)
    assert stream.jumps == 0
    largest, counted = faces_of(frames, spec=SPEC.model_copy(update={"main_face": "largest"}))
    assert largest[-1].box.x1 > 100
    assert counted.jumps == 1


def test_boxes_between_detections_are_interpolated(faces_of, draw):
    frames = [draw(("blue", 40 + 2 * index, 50, 60)) for index in range(12)]

    items, stream = faces_of(frames, spec=SPEC.model_copy(update={"detect_every": 4}))

    detected = [item.frame for item in items if item.box_source == "detected"]
    assert detected == [0, 4, 8, 11]  # the last frame is always looked at
    assert sum(stream._detector.calls) == 4
    for item in items:
        assert item.box.x1 == pytest.approx(40 + 2 * item.frame, abs=2)


def test_where_neighbours_disagree_the_frames_between_are_detected_after_all(faces_of, draw):
    frames = [draw(("blue", 40 if index < 6 else 70, 50, 60)) for index in range(9)]

    items, _ = faces_of(frames, spec=SPEC.model_copy(update={"detect_every": 4}))

    assert [item.box_source for item in items] == [
        *["detected"],
        *["interpolated"] * 3,
        *["detected"] * 5,
    ]
    for item in items:
        assert item.box.x1 == pytest.approx(40 if item.frame < 6 else 70, abs=2)


def test_nobody_is_invented_between_a_face_and_no_face(faces_of, draw):
    frames = [draw(("blue", 40, 50, 60)) if index < 6 else draw() for index in range(9)]

    items, _ = faces_of(frames, spec=SPEC.model_copy(update={"detect_every": 8}))

    assert [isinstance(item, FaceCrop) for item in items] == [True] * 6 + [False] * 3


@pytest.mark.parametrize("every", [1, 3])
def test_batches_change_how_often_the_detector_is_called_and_nothing_else(faces_of, draw, every):
    frames = [draw(("blue", 40 + 3 * index, 50, 60)) for index in range(20)]
    spec = SPEC.model_copy(update={"detect_every": every})

    one, _ = faces_of(frames, spec=spec, batch=1)
    four, _ = faces_of(frames, spec=spec, batch=4)

    assert one == four


@pytest.fixture
def living(monkeypatch):
    """Return the frames that anybody still holds."""
    frames, really_init = weakref.WeakSet(), SampledFrame.__init__

    def init(self, *arguments, **options):
        really_init(self, *arguments, **options)
        frames.add(self)

    monkeypatch.setattr(SampledFrame, "__init__", init)
    return frames


@pytest.mark.parametrize("convert", ["frame", "planes"])
@pytest.mark.parametrize(("every", "batch"), [(1, 1), (1, 4), (4, 1), (4, 2)])
def test_a_long_video_takes_no_more_memory_than_a_short_one(
    tmp_path, write_video, drawn_faces, living, draw, every, batch, convert
):
    class Watching(drawn_faces):
        def detect(self, frames):
            most["frames"] = max(most["frames"], len(living))
            most["bytes"] = max(most["bytes"], tracemalloc.get_traced_memory()[0])
            return super().detect(frames)

    short, long = (
        write_video(tmp_path / f"{count}.mp4", [draw(("blue", 40, 50, 60))] * count, pix_fmt="yuv444p")
        for count in (20, 200)
    )
    spec = SPEC.model_copy(update={"detect_every": every, "input_side": 160})

    peaks = []
    for path in (short, short, long):  # the first fills the caches of everything
        most = {"frames": 0, "bytes": 0}
        tracemalloc.start()
        stream = iter_faces(path, detector=Watching(batch), face=FaceSpec(size=64, convert=convert), spec=spec, step=1)
        assert all(isinstance(item, FaceCrop) for item in stream)
        tracemalloc.stop()
        peaks.append(most)

    _, of_short, of_long = peaks
    assert of_long["frames"] == of_short["frames"] <= 2 * every * batch + 1
    assert of_long["bytes"] < of_short["bytes"] + 320 * 240


def test_of_very_large_frames_fewer_are_held_between_two_detections(faces_of, living, draw, monkeypatch):
    frames = [draw(("blue", 40 + 2 * index, 50, 60)) for index in range(12)]
    spec = SPEC.model_copy(update={"detect_every": 8})

    monkeypatch.setattr(streams, "MOST_PIXELS_BETWEEN", 3 * 320 * 240)
    few, _ = faces_of(frames, spec=spec)
    monkeypatch.setattr(streams, "MOST_PIXELS_BETWEEN", 320 * 240 - 1)
    none, _ = faces_of(frames, spec=spec)

    assert [item.frame for item in few if item.box_source == "detected"] == [0, 3, 6, 9, 11]
    assert {item.box_source for item in none} == {"detected"}


def test_eight_k_is_very_large_and_four_k_is_not():
    of_8k, of_4k = (streams.MOST_PIXELS_BETWEEN // pixels for pixels in (7680 * 4320, 4096 * 2160))

    assert of_8k == 4
    assert of_4k >= DetectorSpec(detect_every=16).detect_every


def test_frames_that_are_detected_after_all_are_not_all_converted_at_once(faces_of, draw, monkeypatch):
    frames = [draw(("blue", 40 if index < 6 else 70, 50, 60)) for index in range(9)]
    spec = SPEC.model_copy(update={"detect_every": 4})
    together, _ = faces_of(frames, spec=spec)

    monkeypatch.setattr(streams, "MOST_PIXELS", 2 * 320 * 240)
    items, stream = faces_of(frames, spec=spec)

    assert items == together
    assert stream._detector.calls == [1, 1, 1, 2, 1]


@pytest.mark.parametrize("side", [0, 160])
def test_a_frame_is_not_kept_converted_behind_its_crop(tmp_path, write_video, drawn_faces, living, draw, side):
    frames = [draw(("blue", 40, 50, 60)) if index < 10 else draw() for index in range(18)]
    path = write_video(tmp_path / "video.mp4", frames, pix_fmt="yuv444p")
    spec = SPEC.model_copy(update={"detect_every": 8, "input_side": side})

    for item in iter_faces(path, detector=drawn_faces(), face=FACE, spec=spec, step=1):
        assert not [frame.index for frame in living if frame.index <= item.frame and frame._bgr is not None]


def test_frames_of_a_missing_tail_are_failures_with_a_reason(truncated_video, drawn_faces, draw):
    path = truncated_video([draw(("blue", 40, 50, 60))] * 60)

    items = list(iter_faces(path, detector=drawn_faces(), face=FACE, spec=SPEC, step=4))

    assert sorted(item.frame for item in items) == list(range(0, 60, 4))
    assert isinstance(items[0], FaceCrop)
    assert isinstance(items[-1], FaceFailure)
    assert items[-1].reason == "the frame cannot be decoded: the file is damaged or its tail is missing"


def test_what_is_no_video_raises(tmp_path, drawn_faces):
    path = tmp_path / "text.mp4"
    path.write_text("no video")

    with pytest.raises(MediaError, match=r"text\.mp4"):
        list(iter_faces(path, detector=drawn_faces(), face=FACE, spec=SPEC, step=4))


def test_a_video_whose_colours_cannot_be_converted_raises(tmp_path, write_video, pictures, drawn_faces):
    path = write_video(tmp_path / "video.mp4", pictures(9), options={"x264-params": "colormatrix=YCgCo"})

    with pytest.raises(MediaError, match="frame 0: its colours cannot be converted"):
        list(iter_faces(path, detector=drawn_faces(), face=FACE, spec=SPEC, step=4))
