"""Workspaces whose videos are known by name alone, and official lists."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from deepfake_core import receipts, tables
from deepfake_core.config import DownloadConfig
from deepfake_core.data.layout import VIDEO_SETS, identify
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace


def table_of(names: Iterable[str], *, compressions=("c23",), unreadable=()) -> pa.Table:
    """Return a videos table of originals ``183``, fakes ``183_253`` (Deepfakes) and actors ``01__pan``."""
    rows = []
    for name in names:
        actors = "__" in name
        people = name.partition("__")[0]
        original = "DeepFakeDetection_original" if actors else "original"
        fake = "DeepFakeDetection" if actors else "Deepfakes"
        video_set = VIDEO_SETS[fake if "_" in people else original]
        for compression in compressions:
            video = identify(Path(f"{name}.mp4"), video_set, compression)
            rows.append(
                {
                    "video_id": video.video_id,
                    "path": str(video.path),
                    "dataset": video_set.dataset,
                    "method": video_set.method,
                    "compression": compression,
                    "name": name,
                    "target": video.target,
                    "source": video.source,
                    "label": int(video.source is not None),
                    "status": "unreadable" if name in unreadable else "ok",
                }
            )
    return tables.from_rows(sorted(rows, key=lambda row: row["video_id"]), tables.VIDEOS)


@pytest.fixture
def videos_table() -> Callable[..., pa.Table]:
    """Return ``table_of``."""
    return table_of


@pytest.fixture
def workspace_with(tmp_path: Path) -> Callable[..., Workspace]:
    """Return a function that makes a workspace whose download left these videos."""

    def make(*names: str, **about) -> Workspace:
        workspace = Workspace.open(tmp_path / "workspace")
        tables.write(workspace.videos_table, table_of(names, **about), schema=tables.VIDEOS)
        with receipts.open_stage(
            workspace, "download", config=DownloadConfig(), external={"names": str(names)}
        ) as work:
            report = StageReport(stage="download", outputs={"source": str(workspace.videos)})
            work.finish(report, outputs=[workspace.videos_table])
        return workspace

    return make


@pytest.fixture
def write_lists(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes official lists and, where given, the table of YouTube ids."""

    def write(*, folder="lists", youtube_ids=None, **pairs) -> Path:
        where = tmp_path / folder
        where.mkdir(parents=True, exist_ok=True)
        for split, values in pairs.items():
            (where / f"{split}.json").write_text(json.dumps(values))
        if youtube_ids is not None:
            (where / "conversion_dict.json").write_text(json.dumps(youtube_ids))
        return where

    return write


@pytest.fixture
def splits_by_name() -> Callable[[Workspace], dict[str, str]]:
    """Return a function that reads the splits table: name → split, one compression standing for all."""

    def read(workspace: Workspace) -> dict[str, str]:
        rows = tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()
        return {row["video_id"].rpartition("/")[2]: row["split"] for row in rows}

    return read
