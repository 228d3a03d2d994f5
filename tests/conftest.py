"""What all tests share: where the real data is, and small real videos made on the spot."""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from deepfake_core.workspace import Workspace

REAL_DATA = "DEEPFAKE_REAL_DATA"

for name, value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
}.items():
    os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder that holds ``data/ffpp`` and ``models``; skip where it is not given."""
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f"{REAL_DATA} is not set: no real FaceForensics++ videos at hand")
    path = Path(folder).resolve()
    assert (path / "data" / "ffpp").is_dir(), f"{REAL_DATA}={folder} holds no data/ffpp"
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a new, empty workspace."""
    return Workspace.open(tmp_path / "workspace")


VideoMaker = Callable[..., Path]


@pytest.fixture
def write_video() -> VideoMaker:
    """Return a function that encodes frames (each (height, width, 3) uint8 RGB) as a real video."""

    def write(
        path: Path,
        frames: Sequence[np.ndarray],
        *,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        fps: int = 25,
        options: dict[str, str] | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps, options=options or {})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pix_fmt
            stream.time_base = Fraction(1, fps)
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write
