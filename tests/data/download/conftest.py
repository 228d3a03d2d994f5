"""A real HTTP server that speaks the protocol of FaceForensics++ and misbehaves on demand."""

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from deepfake_core.config import DownloadConfig
from deepfake_core.data import verify

PAIRS = [["183", "253"], ["469", "481"]]


class FaceServer(ThreadingHTTPServer):
    """Serves ``content`` (path → bytes).

    Attributes:
        heads: ``silence`` leaves every HEAD without an answer.
        faults: path → what goes wrong with the next requests for it, one after the other; the last one stays when it
            starts with ``always ``. See ``Handler.misbehave``.
        connection_limit: connections beyond it are closed at once.
        most_connections: the most that were open at one time.
        etags: say of which version the bytes are.
        seconds_per_request: how long an answer takes at least.
        seconds_per_block: how long each block of an answer takes at least.
        requests: (method, path, Range header) in the order of arrival.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.requests: list[tuple[str, str, str]] = []
        self.connection_limit = 1000
        self.etags = True
        self.heads = ""
        self.seconds_per_request = 0.0
        self.seconds_per_block = 0.0
        self.most_connections = 0
        self.open_connections = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def process_request(self, request, client_address):
        with self.lock:
            self.open_connections += 1
            self.most_connections = max(self.most_connections, self.open_connections)
            refused = self.open_connections > self.connection_limit
        if refused:
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.lock:
            self.open_connections -= 1
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Say nothing: clients that go away are part of the tests."""

    def fetched(self) -> list[str]:
        """Return the paths of all GET requests."""
        return [path for method, path, _ in self.requests if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaceServer

    def do_HEAD(self):
        if self.server.heads == "silence":
            self.server.requests.append(("HEAD", self.path, ""))
            self.fall_silent()
        else:
            self.answer()

    def do_GET(self):
        self.answer()

    def log_message(self, *args):
        """Say nothing."""

    def answer(self):
        time.sleep(self.server.seconds_per_request)
        path = self.path.partition("?")[0]
        with self.server.lock:
            self.server.requests.append((self.command, self.path, self.headers.get("Range", "")))
            faults = self.server.faults[path] if self.command == "GET" else []
            fault = faults[0] if faults else ""
            if fault and not fault.startswith("always "):
                faults.pop(0)
        body = self.server.content.get(path)
        if fault and self.misbehave(fault.removeprefix("always "), path, body or b""):
            return
        if body is None:
            self.reply(404)
            return
        self.serve(body, ranges="ignore range" not in fault)

    def misbehave(self, fault: str, path: str, body: bytes) -> bool:
        """Do what the fault says; return whether that was the whole answer."""
        half = len(body) // 2
        match fault:
            case "drop":
                begin = self.begin_of_range(body)
                rest = body[begin:]
                self.head(206 if begin else 200, len(rest), self.range_headers(body, begin))
                self.wfile.write(rest[: max(len(rest) // 2, 1)])
                self.close_connection = True
            case "hang":
                self.head(200, len(body), {"ETag": etag(body)})
                self.wfile.write(body[:half])
                self.fall_silent()
            case "short range":
                begin = self.begin_of_range(body)
                self.head(206, 1000, self.range_headers(body, begin))
                self.wfile.write(body[begin : begin + 1000])
            case "silence":
                self.fall_silent()
            case "truncate":
                self.serve(body[: half + half // 2])
            case "garbage":
                self.serve(b"<html>Sorry, we are down for maintenance.</html>")
            case "redirect":
                self.reply(301, {"Location": f"{self.server.url[:-1]}{path}?moved"})
            case "ignore range":
                return False
            case "403" | "404" | "429" | "500" | "503":
                self.reply(int(fault), {"Retry-After": "7"} if fault == "429" else {})
            case _:
                raise AssertionError(fault)
        return True

    def fall_silent(self):
        self.wfile.flush()
        self.connection.settimeout(30)
        self.connection.recv(1)  # until the client hangs up
        self.close_connection = True

    def serve(self, body: bytes, *, ranges: bool = True):
        begin = self.begin_of_range(body) if ranges else 0
        if begin >= len(body) > 0:
            self.reply(416, {"Content-Range": f"bytes */{len(body)}"})
            return
        self.head(206 if begin else 200, len(body) - begin, self.range_headers(body, begin))
        if self.command == "GET":
            for start in range(begin, len(body), 4096):
                time.sleep(self.server.seconds_per_block)
                self.wfile.write(body[start : start + 4096])

    def begin_of_range(self, body: bytes) -> int:
        asked, condition = self.headers.get("Range", ""), self.headers.get("If-Range", etag(body))
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked and condition == etag(body) else 0

    def range_headers(self, body: bytes, begin: int) -> dict[str, str]:
        ranges = {"Content-Range": f"bytes {begin}-{len(body) - 1}/{len(body)}"} if begin else {}
        return ranges | ({"ETag": etag(body)} if self.server.etags else {})

    def reply(self, status: int, headers: dict[str, str] | None = None):
        self.head(status, 0, headers or {})

    def head(self, status: int, length: int, headers: dict[str, str]):
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


@pytest.fixture
def empty_server() -> Iterator[FaceServer]:
    """Yield a server that has no files."""
    server = FaceServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def video_bytes(tmp_path_factory) -> Callable[[str], bytes]:
    """Return a function that gives a small real video for a name; another name gives other bytes."""
    import av

    folder, made = tmp_path_factory.mktemp("videos"), {}

    def make(name: str) -> bytes:
        if name not in made:
            random = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
            path = folder / f"{len(made)}.mp4"
            with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
                stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "30"})
                stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
                for _ in range(5):
                    pixels = random.integers(0, 256, (64, 96, 3), dtype=np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                container.mux(stream.encode())
            made[name] = path.read_bytes()
        return made[name]

    return make


@pytest.fixture
def server(empty_server: FaceServer, video_bytes) -> FaceServer:
    """Return a server with two pairs of people: four originals and four Deepfakes at c40."""
    empty_server.content["/v3/misc/filelist.json"] = json.dumps(PAIRS).encode()
    for first, second in PAIRS:
        for name in (first, second):
            path = f"/v3/original_sequences/youtube/c40/videos/{name}.mp4"
            empty_server.content[path] = video_bytes(name)
        for name in (f"{first}_{second}", f"{second}_{first}"):
            path = f"/v3/manipulated_sequences/Deepfakes/c40/videos/{name}.mp4"
            empty_server.content[path] = video_bytes(name)
    return empty_server


@pytest.fixture
def config_of() -> Callable[..., DownloadConfig]:
    """Return a function that configures a download from a test server, impatient and with one verifying process."""

    def make(server: FaceServer, **changes) -> DownloadConfig:
        values = {
            "source": "faceforensics",
            "server_url": server.url,
            "datasets": ("original", "Deepfakes"),
            "compressions": ("c40",),
            "timeout_seconds": 1.0,
            "attempts": 3,
            "backoff_seconds": 0.02,
            "workers": 1,
        }
        return DownloadConfig(**{**values, **changes})

    return make


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Return a function that waits until something holds, at most a minute."""

    def wait(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, "it did not happen within a minute"
            time.sleep(0.02)

    return wait


@pytest.fixture
def face_tree(tmp_path: Path, video_bytes) -> Callable[..., Path]:
    """Return a function that lays videos out as FaceForensics++ does: relative path without suffix → content."""

    def lay(*names: str, folder: str = "ffpp") -> Path:
        root = tmp_path / folder
        for name in names:
            path = root / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(video_bytes(path.stem))
        return root

    return lay


@pytest.fixture
def verified(monkeypatch):
    """Return the list of files that are really read, and read them in this process."""
    read = []

    def in_this_process(jobs, *, function, **_):
        for key, payload in jobs:
            read.append(Path(payload).name)
            yield verify.Outcome(key, "ok", value=function(None, payload))

    monkeypatch.setattr(verify, "supervise", in_this_process)
    return read
