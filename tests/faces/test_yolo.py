"""YOLO weights do what they are asked: one class, real batches, so many threads, the device that was named."""

import importlib
import logging
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from deepfake_core.errors import DeviceError, WeightsError
from deepfake_core.faces.onnx_weights import CPU, CUDA
from deepfake_core.specs import DetectorSpec

ultralytics = pytest.importorskip("ultralytics", reason="the extra 'yolo' is not installed")
torch = pytest.importorskip("torch", reason="the extra 'yolo' is not installed")
yolo = pytest.importorskip("deepfake_core.faces.yolo", reason="the extra 'yolo' is not installed")

SPEC = DetectorSpec(name="yolo", input_side=320, min_confidence=0.4, class_id=1)


class RecordingModel:
    """Stands in for Ultralytics' model: remembers what it was asked, and sees one box in every frame."""

    names = {0: "person", 1: "human face", 2: "cat"}

    def __init__(self, path, *, verbose):
        self.path, self.verbose = path, verbose
        self.asked = []
        self.threads = []

    def predict(self, frames, **options):
        self.asked.append((len(frames), options))
        self.threads.append(torch.get_num_threads())
        torch.set_num_threads(os.cpu_count() + 5)  # as Ultralytics, which sets its own whenever it picks a device
        return [self.result(frame) for frame in frames]

    @staticmethod
    def result(frame):
        boxes = SimpleNamespace(xyxy=torch.tensor([[10.0, 20.0, 50.0, 80.0]]), conf=torch.tensor([0.75]))
        return SimpleNamespace(orig_shape=frame.shape[:2], boxes=boxes, keypoints=None)


@pytest.fixture
def detector_of(tmp_path, monkeypatch):
    """Return a function that opens a detector around a ``RecordingModel``."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(yolo, "YOLO", RecordingModel)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def opened(spec=SPEC, **options):
        wanted = {"device": None, "batch": 8, "threads": 2, **options}
        detector = yolo.YoloDetector(spec, weights=tmp_path / "weights.pt", **wanted)
        detector._model.asked.clear()
        detector._model.threads.clear()
        return detector

    yield opened
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def onnx_weights(tmp_path_factory):
    """Return an ONNX export, for inputs of any size, of a small network that has learned nothing."""
    folder = tmp_path_factory.mktemp("yolo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where Ultralytics writes
        network = ultralytics.YOLO("yolov8n.yaml", verbose=False)
        exported = Path(network.export(format="onnx", imgsz=64, dynamic=True, simplify=False, verbose=False)).resolve()
    return exported.rename(folder / "weights.onnx")


def test_only_the_class_that_is_a_face_is_looked_for(detector_of):
    detector = detector_of()

    detector.detect([np.zeros((120, 160, 3), np.uint8)])

    ((_, options),) = detector._model.asked
    assert options["classes"] == [1]
    assert options["conf"] == 0.4
    assert options["device"] == "cpu"


def test_the_frames_of_a_call_are_one_batch(detector_of):
    detector = detector_of()

    found = detector.detect([np.zeros((120, 160, 3), np.uint8)] * 3)

    ((count, options),) = detector._model.asked
    assert count == options["batch"] == 3
    assert [[(box.x1, box.y1, box.x2, box.y2, box.confidence) for box in boxes] for boxes in found] == [
        [(10.0, 20.0, 50.0, 80.0, 0.75)]
    ] * 3
    assert detector.detect([]) == []
    assert len(detector._model.asked) == 1


@pytest.mark.parametrize(("batch", "suits"), [(8, yolo.CPU_BATCH), (2, 2)])
def test_a_cpu_gets_no_batch_that_falls_out_of_its_cache(detector_of, batch, suits):
    assert detector_of(batch=batch).batch == suits


@pytest.mark.parametrize(("side", "seen"), [(320, 320), (300, 320), (321, 352), (0, yolo.DEFAULT_SIDE)])
def test_the_input_is_a_multiple_of_the_coarsest_stride(detector_of, side, seen):
    detector = detector_of(SPEC.model_copy(update={"input_side": side}))

    detector.detect([np.zeros((120, 160, 3), np.uint8)])

    assert detector._model.asked[0][1]["imgsz"] == seen


def test_threads_are_set_again_before_every_call(detector_of):
    detector = detector_of(threads=1)

    for _ in range(2):
        detector.detect([np.zeros((120, 160, 3), np.uint8)])

    assert detector._model.threads == [1, 1]


def test_without_a_number_of_threads_every_core_gets_one(detector_of):
    detector = detector_of(threads=None)

    detector.detect([np.zeros((120, 160, 3), np.uint8)])

    assert detector._model.threads == [os.cpu_count()]


def test_a_class_that_the_weights_do_not_know_is_refused_and_the_known_ones_are_named(detector_of):
    with pytest.raises(WeightsError, match=r"no class 7\. It knows 3: 0 person, 1 human face, 2 cat"):
        detector_of(SPEC.model_copy(update={"class_id": 7}))


def test_a_class_that_is_no_face_is_taken_with_a_warning(detector_of, caplog):
    with caplog.at_level(logging.WARNING):
        detector_of()
        assert not caplog.records
        detector_of(SPEC.model_copy(update={"class_id": 0}))

    assert "class 0 of weights.pt is 'person': the crops will show that, not faces" in caplog.text


def test_cuda_is_refused_where_pytorch_finds_none(detector_of):
    with pytest.raises(DeviceError, match=r"detector\.device is 'cuda', but PyTorch finds no CUDA device"):
        detector_of(device="cuda")


def open_onnx(weights, **options):
    wanted = {"device": "cpu", "batch": 8, "threads": 1, **options}
    return yolo.YoloDetector(SPEC.model_copy(update={"class_id": 0}), weights=weights, **wanted)


@pytest.mark.parametrize("threads", [1, 3])
def test_onnx_weights_run_in_as_many_threads_as_were_asked_for(onnx_weights, threads):
    detector = open_onnx(onnx_weights, threads=threads)

    detector.detect([np.zeros((120, 160, 3), np.uint8)] * 2)

    session = detector._model.predictor.model.backend.session
    assert session.get_session_options().intra_op_num_threads == threads
    assert session.get_session_options().inter_op_num_threads == 1
    assert session.get_providers() == [CPU]


@pytest.mark.parametrize(("height", "width", "seen"), [(90, 160, (2, 3, 192, 320)), (200, 100, (2, 3, 320, 160))])
def test_onnx_weights_see_rectangles_in_one_batch(onnx_weights, monkeypatch, height, width, seen):
    detector = open_onnx(onnx_weights)
    backend = detector._model.predictor.model.backend
    inputs, really_forward = [], backend.forward
    monkeypatch.setattr(backend, "forward", lambda image: inputs.append(tuple(image.shape)) or really_forward(image))

    detector.detect([np.zeros((height, width, 3), np.uint8)] * 2)

    assert inputs == [seen]


def test_onnx_weights_are_opened_without_a_word_on_stdout(onnx_weights, capfd):
    open_onnx(onnx_weights)

    assert capfd.readouterr().out == ""


def pretend_cuda(monkeypatch):
    """Let PyTorch see a GPU that onnxruntime does not, and Ultralytics place its tensors on the CPU all the same."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("ultralytics.engine.predictor.select_device", lambda *_, **__: torch.device("cpu"))


def test_asked_for_cuda_onnx_weights_do_not_run_on_the_cpu(onnx_weights, monkeypatch):
    pretend_cuda(monkeypatch)

    with pytest.raises(DeviceError, match=rf"would run weights\.onnx on the CPU \(this build offers: .*{CPU}"):
        open_onnx(onnx_weights, device="cuda")


def test_onnx_weights_run_on_the_cpu_where_nobody_asked_for_cuda(onnx_weights, monkeypatch):
    pretend_cuda(monkeypatch)

    detector = open_onnx(onnx_weights, device=None)

    session = detector._model.predictor.model.backend.session
    assert CUDA not in session.get_providers()
    assert session.get_session_options().intra_op_num_threads == 1
    assert detector.batch == yolo.CPU_BATCH
    assert detector.detect([np.zeros((120, 160, 3), np.uint8)]) == [[]]


class OfAMissingModule:
    """Pickles as something that only another program could load."""

    def __reduce__(self):
        return importlib.import_module, ("a_module_that_nobody_has",)


def broken_weights():
    """Return what is no YOLO model, by the name of the file."""
    image, same = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 64, 64]) for name in ("image", "same")
    )
    graph = onnx.helper.make_graph([onnx.helper.make_node("Nonsense", ["image"], ["same"])], "other", [image], [same])
    versions = [onnx.helper.make_opsetid("", version) for version in (17, 99)]
    return {
        "text.pt": b"rubbish" * 100,
        "empty.pt": b"",
        "zip.pt": b"PK\3\4" + b"x" * 300,
        "module.pt": pickle.dumps(OfAMissingModule()),
        "text.onnx": b"rubbish" * 100,
        "empty.onnx": b"",
        "operator.onnx": onnx.helper.make_model(graph, ir_version=10, opset_imports=versions[:1]).SerializeToString(),
        "opset.onnx": onnx.helper.make_model(graph, ir_version=10, opset_imports=versions[1:]).SerializeToString(),
    }


@pytest.mark.parametrize("name", broken_weights())
def test_what_is_no_model_is_refused_with_a_sentence(tmp_path, name):
    weights = tmp_path / name
    weights.write_bytes(broken_weights()[name])

    with pytest.raises(WeightsError, match="is no model that Ultralytics can load"):
        open_onnx(weights)
