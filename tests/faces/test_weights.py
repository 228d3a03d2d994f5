"""Weights are opened only when they are the ones that were asked for."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deepfake_core.config import DetectorConfig
from deepfake_core.errors import WeightsError
from deepfake_core.faces import weights
from deepfake_core.faces.weights import YUNET_SHA256, find_weights, resolve_weights, user_cache
from deepfake_core.specs import DetectorSpec

MODEL = b"the weights" * 1000
SHA256 = hashlib.sha256(MODEL).hexdigest()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "somewhere" / "model.pt"
    path.parent.mkdir()
    path.write_bytes(MODEL)
    return path


@pytest.fixture
def official(monkeypatch):
    """Serve ``MODEL`` as the official weights; ``answers`` of the returned object come first, once each.

    An answer is a status, the bytes of a file, or the path to which the server redirects.
    """

    class Server(BaseHTTPRequestHandler):
        answers: list[int | bytes | str] = []
        asked = 0
        paths: list[str] = []

        def do_GET(self):
            type(self).asked += 1
            self.paths.append(self.path)
            answer = self.answers.pop(0) if self.answers else MODEL
            status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
            if isinstance(answer, str):
                status, body = 302, b""
            self.send_response(status)
            if isinstance(answer, str):
                self.send_header("Location", answer)
            self.send_header("Content-Length", str(len(body) + (status == 206)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(weights.OFFICIAL, SHA256, f"http://127.0.0.1:{server.server_port}/yunet.onnx")
    yield Server
    server.shutdown()
    server.server_close()


def test_haar_needs_no_weights(tmp_path):
    assert resolve_weights(DetectorConfig(name="haar"), folder=tmp_path) == (None, None)
    assert find_weights(DetectorSpec(name="haar"), folders=[tmp_path]) is None


def test_a_file_with_the_right_digest_is_kept_under_it(tmp_path, model):
    config = DetectorConfig(name="yolo", weights=model, sha256=SHA256)

    path, digest = resolve_weights(config, folder=tmp_path / "kept")

    assert (path, digest) == (tmp_path / "kept" / f"{SHA256}.pt", SHA256)
    assert path.read_bytes() == MODEL


def test_a_kept_copy_works_when_the_file_is_gone(tmp_path, model):
    config = DetectorConfig(name="yolo", weights=model, sha256=SHA256)
    kept, _ = resolve_weights(config, folder=tmp_path / "kept")
    model.unlink()

    assert resolve_weights(config, folder=tmp_path / "kept") == (kept, SHA256)
    spec = DetectorSpec(name="yolo", weights_sha256=SHA256)
    assert find_weights(spec, folders=[tmp_path / "nowhere", tmp_path / "kept"]) == kept


def test_a_file_with_another_digest_is_never_kept(tmp_path, model):
    model.write_bytes(MODEL + b"!")

    with pytest.raises(WeightsError, match=f"expected {SHA256}"):
        resolve_weights(DetectorConfig(name="yolo", weights=model, sha256=SHA256), folder=tmp_path / "kept")
    with pytest.raises(WeightsError, match=f"expected {YUNET_SHA256}"):
        resolve_weights(DetectorConfig(name="yunet", weights=model), folder=tmp_path / "kept")
    with pytest.raises(WeightsError, match="It was not opened"):
        find_weights(DetectorSpec(name="yolo", weights_sha256=SHA256), folders=[], given=model)
    assert not (tmp_path / "kept").exists()


def test_a_damaged_copy_is_not_used(tmp_path, model):
    config = DetectorConfig(name="yolo", weights=model, sha256=SHA256)
    kept, _ = resolve_weights(config, folder=tmp_path / "kept")
    kept.write_bytes(b"damaged")

    assert resolve_weights(config, folder=tmp_path / "kept")[0].read_bytes() == MODEL


def test_yolo_without_a_digest_is_refused(tmp_path, model):
    with pytest.raises(WeightsError, match=r"detector\.sha256 is not set"):
        resolve_weights(DetectorConfig(name="yolo", weights=model), folder=tmp_path)


def test_weights_that_are_nowhere_are_named(tmp_path):
    with pytest.raises(WeightsError, match=SHA256):
        find_weights(DetectorSpec(name="yolo", weights_sha256=SHA256), folders=[tmp_path])
    with pytest.raises(WeightsError, match="do not exist"):
        find_weights(DetectorSpec(name="yolo", weights_sha256=SHA256), folders=[], given=tmp_path / "no.pt")
    with pytest.raises(WeightsError, match="names no digest"):
        find_weights(DetectorSpec(name="yolo"), folders=[tmp_path])


def test_official_weights_are_fetched_once(tmp_path, official):
    config = DetectorConfig(name="yunet", sha256=SHA256)

    first, _ = resolve_weights(config, folder=tmp_path / "one")
    second, _ = resolve_weights(config, folder=tmp_path / "two")

    assert first.read_bytes() == second.read_bytes() == MODEL
    assert first.suffix == ".onnx"
    assert official.asked == 1
    assert [path.name for path in user_cache().iterdir()] == [f"{SHA256}.onnx"]


def test_a_server_that_stumbles_is_asked_again(tmp_path, official):
    official.answers = [503, 500]

    path, _ = resolve_weights(DetectorConfig(name="yunet", sha256=SHA256), folder=tmp_path / "kept")

    assert path.read_bytes() == MODEL
    assert official.asked == 3


def test_a_server_that_does_not_have_the_weights_is_asked_once(tmp_path, official):
    official.answers = [404] * 4

    with pytest.raises(WeightsError, match=r"cannot be fetched.*404"):
        find_weights(DetectorSpec(name="yunet", weights_sha256=SHA256), folders=[tmp_path])

    assert official.asked == 1


def test_a_server_with_other_bytes_is_not_believed(tmp_path, official):
    official.answers = [b"something else"]

    with pytest.raises(WeightsError, match="thrown away"):
        resolve_weights(DetectorConfig(name="yunet", sha256=SHA256), folder=tmp_path / "kept")
    assert not user_cache().exists()


def test_a_redirect_is_followed_to_the_weights(tmp_path, official):
    official.answers = ["/storage/one", "/storage/two"]

    path, _ = resolve_weights(DetectorConfig(name="yunet", sha256=SHA256), folder=tmp_path / "kept")

    assert path.read_bytes() == MODEL
    assert official.paths == ["/yunet.onnx", "/storage/one", "/storage/two"]


def test_a_redirect_that_leads_to_itself_ends(tmp_path, official):
    official.answers = ["/yunet.onnx"] * 100

    with pytest.raises(WeightsError, match=r"cannot be fetched.*redirects"):
        find_weights(DetectorSpec(name="yunet", weights_sha256=SHA256), folders=[tmp_path])

    assert official.asked < 50


def test_a_server_that_sends_too_much_is_cut_short_and_not_asked_again(tmp_path, official, monkeypatch):
    monkeypatch.setattr(weights, "LARGEST_BYTES", len(MODEL) - 1)

    with pytest.raises(WeightsError, match=f"sends more than {len(MODEL) - 1} bytes"):
        resolve_weights(DetectorConfig(name="yunet", sha256=SHA256), folder=tmp_path / "kept")

    assert official.asked == 1
    assert not user_cache().exists()


def test_weights_of_exactly_the_largest_size_are_taken(tmp_path, official, monkeypatch):
    monkeypatch.setattr(weights, "LARGEST_BYTES", len(MODEL))

    path, _ = resolve_weights(DetectorConfig(name="yunet", sha256=SHA256), folder=tmp_path / "kept")

    assert path.read_bytes() == MODEL


def test_a_server_that_is_gone_leaves_advice(tmp_path, monkeypatch):
    monkeypatch.setitem(weights.OFFICIAL, SHA256, "http://127.0.0.1:9/yunet.onnx")

    with pytest.raises(WeightsError, match=r"give their path as detector\.weights"):
        resolve_weights(DetectorConfig(name="yunet", sha256=SHA256), folder=tmp_path / "kept")
