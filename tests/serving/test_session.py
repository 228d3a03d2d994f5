"""A model scores only what its contract says, on the device that was asked for."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from deepfake_core.errors import ContractError, DeviceError
from deepfake_core.serving.session import Scorer
from deepfake_core.specs import FaceSpec

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def crops_of(*colours, size=64):
    return np.stack([np.full((size, size, 3), colour, dtype=np.uint8) for colour in colours])


def jpeg_of(colour):
    pixels = np.full((64, 64, 3), colour[::-1], dtype=np.uint8)  # OpenCV wants blue first
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def test_red_stands_first_when_a_crop_enters_the_model(tiny_model):
    scorer = Scorer.open(tiny_model)

    logits = scorer.logits(crops_of(RED, GREEN, BLUE))

    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, [25.5, 0.0, -25.5], atol=1e-4)


def test_a_stored_jpeg_scores_like_its_colours(tiny_model):
    logits = Scorer.open(tiny_model).logits_of_jpegs([jpeg_of(RED), jpeg_of(BLUE)])

    np.testing.assert_allclose(logits, [25.5, -25.5], atol=0.3)


@pytest.mark.parametrize("crops", [0, 1, 3, 4, 9])
def test_every_crop_gets_its_own_logit_however_they_fall_into_batches(tiny_model, crops):
    levels = np.arange(crops, dtype=np.uint8)
    images = np.zeros((crops, 64, 64, 3), dtype=np.uint8)
    images[..., 0] = levels[:, None, None]

    logits = Scorer.open(tiny_model, batch=4).logits(images)

    assert logits.shape == (crops,)
    np.testing.assert_allclose(logits, levels * 0.1, atol=1e-5)


def test_levels_are_mapped_to_the_input_range_of_the_contract(tmp_path, write_tiny_model):
    path = write_tiny_model(tmp_path / "signed.onnx", gain=1.0, input_range=(-1.0, 1.0))

    logits = Scorer.open(path).logits(crops_of(RED, (128, 128, 128)))

    np.testing.assert_allclose(logits, [2.0, 0.0], atol=1e-5)


def test_an_altered_graph_is_refused(tiny_model):
    model = onnx.load(str(tiny_model))
    model.graph.node[0].name = "another"
    onnx.save(model, str(tiny_model))

    with pytest.raises(ContractError, match="altered"):
        Scorer.open(tiny_model)


def test_a_file_without_contract_is_refused(tiny_model):
    model = onnx.load(str(tiny_model))
    del model.metadata_props[:]
    onnx.save(model, str(tiny_model))

    with pytest.raises(ContractError, match="deepfake export"):
        Scorer.open(tiny_model)


def test_a_graph_of_another_input_size_than_its_contract_is_refused(tmp_path, write_tiny_model):
    path = write_tiny_model(tmp_path / "torn.onnx", size=64, face=FaceSpec(size=96))

    with pytest.raises(ContractError, match="not what its contract says"):
        Scorer.open(path)


@pytest.mark.parametrize(
    "crops", [crops_of(RED, size=96), crops_of(RED).astype(np.float32), crops_of(RED)[0]], ids=["96", "float", "single"]
)
def test_crops_of_another_shape_or_type_are_refused(tiny_model, crops):
    with pytest.raises(ContractError, match=r"uint8 \(n, 64, 64, 3\)"):
        Scorer.open(tiny_model).logits(crops)


def test_a_logit_that_is_no_number_never_passes_for_an_original(tmp_path, write_tiny_model):
    path = write_tiny_model(tmp_path / "broken.onnx", bias=float("nan"))

    with pytest.raises(ContractError, match="finite"):
        Scorer.open(path).logits(crops_of(RED))


def test_asked_for_cuda_means_cuda(tiny_model, monkeypatch, capfd):
    """Onnxruntime prints a warning and goes on with the CPU; so does the session made here, on any machine."""
    make = onnxruntime.InferenceSession

    def fall_back(path, options, *, providers, **rest):
        assert providers[0][0] == "CUDAExecutionProvider"
        return make(path, options, providers=["CPUExecutionProvider"], **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)

    with pytest.raises(DeviceError, match=r"on the CPU .*nvidia-smi.*onnxruntime-gpu\[cuda,cudnn\]"):
        Scorer.open(tiny_model, device="cuda")

    assert capfd.readouterr().out == ""
