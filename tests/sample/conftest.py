"""A small sample that the tests of the data set share, and what its videos show."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from deepfake_core.config import SampleConfig
from deepfake_core.sample import generate_sample


@dataclass(frozen=True)
class Video:
    """One generated video and what its path says about it."""

    path: Path
    method: str
    compression: str
    name: str

    @property
    def manipulated(self) -> bool:
        return self.method != "youtube"

    @property
    def pair(self) -> int:
        return int(self.name[:3]) // 2

    def frames(self, step: int = 1) -> list[np.ndarray]:
        """Decode every ``step``-th frame, BGR."""
        with av.open(str(self.path)) as container:
            return [
                frame.to_ndarray(format="bgr24")
                for index, frame in enumerate(container.decode(video=0))
                if index % step == 0
            ]


@dataclass(frozen=True)
class Sample:
    """A generated data set."""

    directory: Path
    config: SampleConfig

    def videos(self) -> list[Video]:
        return [
            Video(path, path.parts[-4], path.parts[-3], path.stem) for path in sorted(self.directory.rglob("*.mp4"))
        ]


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Sample:
    """Twelve people at full size, five frames a video."""
    directory = tmp_path_factory.mktemp("sample")
    config = SampleConfig(identities=12, frames=5, seed=3)
    generate_sample(directory, config=config)
    return Sample(directory, config)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., SampleConfig]:
    """Return a function that makes the smallest configuration, with changes."""

    def config(**changes) -> SampleConfig:
        values = {
            "identities": 8,
            "frames": 4,
            "width": 160,
            "height": 160,
            "methods": ("Deepfakes",),
            "compressions": ("c40",),
            "workers": 1,
        }
        return SampleConfig(**(values | changes))

    return config
