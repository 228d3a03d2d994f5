"""How fast the quality gate is at the size of the whole data set.

Writes the tables of 10,000 videos and 1.2 million faces, and 10,000 per-video files with one tiny JPEG a face, into a
temporary workspace; then runs the gate over the tables and files, and over the tables alone, each in a process of its
own. Bounds: 20 s and 10 s of wall time for the gate. The import of Great Expectations, which takes the same seconds
whatever the data, and the CPU time of both are printed beside it.

Run: python benchmarks/validate.py [--videos 10000]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core import files, receipts, tables
from deepfake_core.config import METHODS, DownloadConfig, ExtractConfig, SplitConfig
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace

FACES = {0: 127, 1: 114}
"""Faces of an original and of a fake: in 10,000 videos as many as the notebook counts."""
BOUNDS = {"tables and files": 20.0, "tables alone": 10.0}
"""Seconds of wall time of the gate, imports left out."""
ONE_GATE = """
import json, resource, sys, time
began = time.perf_counter()
from pathlib import Path
from deepfake_core.config import ValidateConfig
from deepfake_core.data.validate import validate_data
from deepfake_core.workspace import Workspace
imported, before = time.perf_counter(), time.process_time()
config = ValidateConfig(check_files=sys.argv[2] == "files", full_dataset=sys.argv[3] == "full")
report = validate_data(Workspace.existing(Path(sys.argv[1])), config=config)
print(json.dumps({
    "imports": imported - began, "gate": time.perf_counter() - imported,
    "cpu": time.process_time(), "gate_cpu": time.process_time() - before,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "passed": report.counts["passed"], "checks": report.counts["checks"],
}))
"""


def main() -> None:
    """Build the workspace, run the gate both ways, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000, help="a multiple of 20")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        workspace = build_workspace(Path(folder) / "workspace", videos=arguments.videos)
        faces = tables.check(workspace.faces_index, schema=tables.FACES_INDEX)
        print(f"{arguments.videos:,} videos, {faces:,} faces, written in {time.perf_counter() - began:.0f} s")
        full = arguments.videos == 10_000
        for name, bound in BOUNDS.items():
            figures = run_gate(workspace, files=name == "tables and files", full=full)
            print(
                f"{name:18} {figures['gate']:5.1f} s wall ({figures['gate'] + figures['imports']:.1f} s with imports), "
                f"{figures['gate_cpu']:.1f} s CPU ({figures['cpu']:.1f} s with imports), "
                f"peak {figures['peak_mib']:,.0f} MiB, {figures['passed']} of {figures['checks']} checks passed; "
                f"bound {bound:.0f} s of wall time without imports: {'met' if figures['gate'] <= bound else 'MISSED'}"
            )


def run_gate(workspace: Workspace, *, files: bool, full: bool) -> dict[str, float]:
    """Run the gate in a fresh process; return its seconds and peak memory."""
    command = [
        sys.executable,
        "-c",
        ONE_GATE,
        str(workspace.root),
        "files" if files else "tables",
        "full" if full else "-",
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(figures, dict)
    return figures


def build_workspace(root: Path, *, videos: int) -> Workspace:
    """Write a workspace in which download, split and extraction are done.

    Args:
        root: a folder that does not exist yet.
        videos: rows of the videos table, in the proportions of FaceForensics++: 1 original to 4 fakes, c23 and c40.
    """
    workspace = Workspace.open(root)
    rows = list(_video_rows(videos // 10))
    tables.write(workspace.videos_table, tables.from_rows(rows, tables.VIDEOS), schema=tables.VIDEOS)
    splits = [{"video_id": row["video_id"], **_place(row["target"], videos // 10)} for row in rows]
    tables.write(workspace.splits_table, tables.from_rows(splits, tables.SPLITS), schema=tables.SPLITS)
    extractions = [_extraction_row(row["video_id"], FACES[row["label"]]) for row in rows]
    listed = tables.from_rows(extractions, tables.EXTRACTIONS)
    tables.write(workspace.extractions_table, listed, schema=tables.EXTRACTIONS)
    found = [_face_table(row["video_id"], FACES[row["label"]]) for row in rows]
    tables.write(workspace.faces_index, pa.concat_tables(found), schema=tables.FACES_INDEX)
    for row, faces in zip(rows, found, strict=True):
        _write_unsynced(workspace.faces_of(row["video_id"]), faces)
    for stage, config, output in (
        ("download", DownloadConfig(), workspace.videos_table),
        ("split", SplitConfig(), workspace.splits_table),
        ("extract", ExtractConfig(), workspace.extractions_table),
    ):
        with receipts.open_stage(workspace, stage, config=config) as work:
            work.finish(StageReport(stage=stage), outputs=[output])
    return workspace


def _video_rows(people: int) -> Iterator[dict[str, Any]]:
    for compression in ("c23", "c40"):
        for person in range(people):
            target, source = f"{person:04d}", f"{person ^ 1:04d}"
            for method in ("original", *METHODS):
                name = target if method == "original" else f"{target}_{source}"
                label = int(method != "original")
                video_id = f"ffpp/{method}/{compression}/{name}"
                yield {
                    "video_id": video_id, "path": f"videos/{video_id}.mp4", "dataset": "ffpp", "method": method,
                    "compression": compression, "name": name, "target": target,
                    "source": None if method == "original" else source, "label": label,
                    "sha256": files.sha256_of_bytes(video_id.encode()), "fps": 25.0, "frames": 4 * FACES[label],
                    "duration": 4 * FACES[label] / 25.0, "status": "ok",
                }  # fmt: skip


def _extraction_row(video_id: str, faces: int) -> dict[str, Any]:
    return {
        "video_id": video_id, "fingerprint": "f", "frames_decoded": 4 * faces, "frames_sampled": faces, "faces": faces,
        "no_face": 0, "jumps": 0, "status": "ok", "digest": "0" * 64,
    }  # fmt: skip


def _place(target: str, people: int) -> dict[str, str]:
    group = int(target) & ~1
    split = "train" if group < people * 0.8 else "val" if group < people * 0.9 else "test"
    return {"group": f"ffpp/{group:04d}", "split": split}


def _face_table(video_id: str, faces: int) -> pa.Table:
    random = np.random.default_rng(int(files.sha256_of_bytes(video_id.encode())[:8], 16))
    x1 = (240 + random.normal(0, 3, faces).cumsum()).astype("f4")
    y1 = (120 + random.normal(0, 2, faces).cumsum()).astype("f4")
    columns = {
        "video_id": pa.array([video_id] * faces),
        "frame": pa.array(np.arange(faces, dtype="i4") * 4),
        "x1": pa.array(x1), "y1": pa.array(y1), "x2": pa.array(x1 + 100), "y2": pa.array(y1 + 130),
        "sharpness": pa.array(random.gamma(4, 20, faces).astype("f4")),
        "width": pa.array(np.full(faces, 640, "i4")), "height": pa.array(np.full(faces, 480, "i4")),
        "status": pa.array(["ok"] * faces),
    }  # fmt: skip
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else pa.nulls(faces, field.type)
        for field in tables.FACES_INDEX
    ]
    return pa.Table.from_arrays(arrays, schema=tables.FACES_INDEX)


def _write_unsynced(path: Path, table: pa.Table) -> None:
    """Write as ``tables.write`` does, but without waiting for the disk ten thousand times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    jpegs = pa.array([b"\xff\xd8" + bytes(60)] * len(table), pa.binary())
    pq.write_table(table.append_column("jpeg", jpegs).replace_schema_metadata(tables.FACES.metadata), path)


if __name__ == "__main__":
    main()
