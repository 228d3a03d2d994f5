"""A small, clean data set in tables, which each test spoils in one way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import pyarrow as pa
import pytest

from deepfake_core import files, receipts, tables
from deepfake_core.config import METHODS, Config, ExtractConfig, ValidateConfig
from deepfake_core.data.checks import Check
from deepfake_core.data.grains import Grains, build_grains
from deepfake_core.data.suites import load_suites, run_suite
from deepfake_core.report import StageReport
from deepfake_core.resources import expectations_folder
from deepfake_core.workspace import Workspace

Row = dict[str, Any]
FRAMES = 12
"""Sampled frames a video: 48 frames at 24 fps and step 4."""


@dataclass
class Dataset:
    """The rows of the four tables. Tests change them, then ask for a verdict."""

    videos: list[Row] = field(default_factory=list)
    splits: list[Row] = field(default_factory=list)
    extractions: list[Row] = field(default_factory=list)
    faces: list[Row] = field(default_factory=list)

    def add(self, name: str, *, method: str, compression: str, group: str, split: str) -> None:
        target, _, source = name.partition("_")
        video_id = f"ffpp/{method}/{compression}/{name}"
        self.videos.append(
            {
                "video_id": video_id,
                "path": f"videos/{video_id}.mp4",
                "dataset": "ffpp",
                "method": method,
                "compression": compression,
                "name": name,
                "target": target,
                "source": source or None,
                "label": int(method != "original"),
                "sha256": f"{len(self.videos):064x}",
                "width": 320,
                "height": 240,
                "fps": 24.0,
                "frames": 4 * FRAMES,
                "duration": 4 * FRAMES / 24.0,
                "status": "ok",
            }
        )
        self.splits.append({"video_id": video_id, "group": group, "split": split})
        self.extractions.append(
            {
                "video_id": video_id,
                "fingerprint": "f",
                "frames_decoded": 4 * FRAMES,
                "frames_sampled": FRAMES,
                "faces": FRAMES,
                "no_face": 0,
                "jumps": 0,
                "status": "ok",
                "digest": "0" * 64,
            }
        )
        offset = 2 if compression == "c40" else 0
        self.faces += [face_row(video_id, offset + 4 * place) for place in range(FRAMES)]

    def table(self, name: str, schema: pa.Schema) -> pa.Table:
        return tables.from_rows(getattr(self, name), schema)

    def rows_of(self, table: str, video_id: str) -> list[Row]:
        return [row for row in getattr(self, table) if row["video_id"] == video_id]

    def drop(self, table: str, video_id: str) -> None:
        setattr(self, table, [row for row in getattr(self, table) if row["video_id"] != video_id])

    def drop_everywhere(self, video_id: str) -> None:
        for table in ("videos", "splits", "extractions", "faces"):
            self.drop(table, video_id)

    def grains(self, **more: Any) -> Grains:
        return build_grains(
            self.table("videos", tables.VIDEOS),
            splits=self.table("splits", tables.SPLITS),
            extractions=self.table("extractions", tables.EXTRACTIONS),
            faces=self.table("faces", tables.FACES_INDEX),
            sampling=more.pop("sampling", ExtractConfig().sampling),
            **more,
        )

    def checks(self, *, config: ValidateConfig | None = None, **more: Any) -> dict[str, Check]:
        """Run the platform's suites; return the checks by name."""
        config = config or ValidateConfig()
        grains = self.grains(**more)
        suites = load_suites(config.suites or expectations_folder(), config=config)
        return {check.name: check for suite in suites for check in run_suite(suite, grains, config=config)}

    def write(self, workspace: Workspace) -> None:
        """Write tables, faces files and receipts, as the commands download, split and extract would."""
        for row in self.extractions:
            if row["digest"] is not None:
                write_faces_file(workspace, row["video_id"], self.rows_of("faces", row["video_id"]))
        self._finish(workspace, "download", "videos", tables.VIDEOS)
        self._finish(workspace, "split", "splits", tables.SPLITS)
        tables.write(workspace.faces_index, self.table("faces", tables.FACES_INDEX), schema=tables.FACES_INDEX)
        self._finish(workspace, "extract", "extractions", tables.EXTRACTIONS)

    def _finish(self, workspace: Workspace, stage: str, name: str, schema: pa.Schema) -> None:
        path = getattr(workspace, f"{name}_table")
        tables.write(path, self.table(name, schema), schema=schema)
        config, external = Config().section(stage), {"run": path.read_bytes().hex()}
        with receipts.open_stage(workspace, stage, config=config, external=external) as work:
            work.finish(StageReport(stage=stage), outputs=[path])


def face_row(video_id: str, frame: int) -> Row:
    """A face of 80 × 100 pixels in the middle of a frame, trembling a little."""
    shift = (frame * 7919) % 5
    return {
        "video_id": video_id,
        "frame": frame,
        "seconds": frame / 24.0,
        "track": 0,
        "x1": 120.0 + shift,
        "y1": 60.0,
        "x2": 200.0 + shift,
        "y2": 160.0,
        "confidence": 0.9,
        "box_source": "detected",
        "sharpness": 100.0 + shift,
        "width": 320,
        "height": 240,
        "status": "ok",
    }


def write_faces_file(workspace: Workspace, video_id: str, rows: list[Row]) -> None:
    colour = np.random.default_rng(len(video_id)).integers(60, 200, 3)
    crop = np.full((32, 32, 3), colour, np.uint8)
    jpeg = cv2.imencode(".jpg", crop)[1].tobytes()
    table = tables.from_rows([{**row, "jpeg": jpeg if row["status"] == "ok" else None} for row in rows], tables.FACES)
    tables.write(workspace.faces_of(video_id), table, schema=tables.FACES)


@pytest.fixture
def dataset() -> Dataset:
    """Three pairs of people, one a split: originals and four manipulations, at two compressions."""
    made = Dataset()
    pairs = {"train": ("001", "002"), "val": ("003", "004"), "test": ("005", "006")}
    for (split, pair), compression in product(pairs.items(), ("c23", "c40")):
        for person in pair:
            made.add(person, method="original", compression=compression, group=pair[0], split=split)
        for method, (target, source) in product(METHODS, permutations(pair)):
            name = f"{target}_{source}"
            made.add(name, method=method, compression=compression, group=pair[0], split=split)
    return made


@pytest.fixture
def own_suite(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a suite over the videos, of one's own, and returns its folder."""

    def write(*expectations: Row) -> Path:
        suite = {"name": "mine", "meta": {"grain": "videos"}, "expectations": expectations}
        files.write_json(tmp_path / "own" / "mine.json", suite)
        return tmp_path / "own"

    return write


class CountingProgress:
    """Remembers how far the latest bar came."""

    total = 0.0
    done = 0.0

    def bar(self, title: str, *, total: float, unit: str = "") -> Self:
        assert title
        assert unit
        self.total, self.done = total, 0.0
        return self

    def advance(self, steps: float = 1.0) -> None:
        self.done += steps

    def say(self, text: str) -> None:
        assert text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def bars() -> CountingProgress:
    return CountingProgress()
