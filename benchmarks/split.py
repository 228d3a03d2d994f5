"""The split of a data set as large as FaceForensics++, and what the notebook's way of cutting leaks.

    python benchmarks/split.py

1,000 identities in 500 pairs, four methods, two compressions: 10,000 videos, and YouTube ids of which 22 are shared, as
in the real table. Measured is the whole stage: reading the videos table, grouping, cutting exactly, writing the splits
and the leak report. It is judged by the time that somebody waits. The notebook sorts the names and cuts after 800 and
900; what that leaks on these made-up pairs is counted beside it.
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from deepfake_core import receipts, tables
from deepfake_core.config import METHODS, DownloadConfig, SplitConfig
from deepfake_core.data.groups import people_of_id
from deepfake_core.data.layout import VIDEO_SETS, identify
from deepfake_core.data.split import refuse_torn_groups, split_videos
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace

IDENTITIES = 1000
SHARED_YOUTUBE_IDS = 22
LIMIT_SECONDS = 2.0
COMPRESSIONS = ("c23", "c40")


def made_up_pairs(seed: int) -> list[tuple[str, str]]:
    """Return all identities in random pairs."""
    names = [f"{number:03d}" for number in range(IDENTITIES)]
    random.Random(seed).shuffle(names)  # noqa: S311
    return list(zip(names[::2], names[1::2], strict=True))


def row(path: Path, method: str, compression: str) -> dict[str, Any]:
    """Return a row of the videos table for a name."""
    video = identify(path, VIDEO_SETS[method], compression)
    return {
        "video_id": video.video_id,
        "path": str(path),
        "dataset": "ffpp",
        "method": method,
        "compression": compression,
        "name": video.name,
        "target": video.target,
        "source": video.source,
        "label": int(video.source is not None),
        "status": "ok",
    }


def make_workspace(root: Path) -> Workspace:
    """Return a workspace whose download left the whole data set, and lists for it."""
    workspace = Workspace.open(root)
    pairs = made_up_pairs(seed=1)
    names = {"original": [name for pair in pairs for name in pair]}
    names |= {method: ["_".join(people) for pair in pairs for people in (pair, pair[::-1])] for method in METHODS}
    rows = [
        row(workspace.videos / f"{name}.mp4", method, compression)
        for method, found in names.items()
        for compression in COMPRESSIONS
        for name in found
    ]
    tables.write(workspace.videos_table, tables.from_rows(rows, tables.VIDEOS), schema=tables.VIDEOS)
    lists = workspace.videos / "splits"
    lists.mkdir(parents=True)
    for split, part in (("train", pairs[:360]), ("val", pairs[360:430]), ("test", pairs[430:])):
        (lists / f"{split}.json").write_text(json.dumps(part))
    ids = {f"{number:03d}": f"video{max(number, SHARED_YOUTUBE_IDS)} 0" for number in range(IDENTITIES)}
    ids |= {f"{number:03d}": f"video{IDENTITIES - 1 - number} 1" for number in range(SHARED_YOUTUBE_IDS)}
    (lists / "conversion_dict.json").write_text(json.dumps(ids))
    with receipts.open_stage(workspace, "download", config=DownloadConfig()) as work:
        report = StageReport(stage="download", outputs={"source": str(workspace.videos)})
        work.finish(report, outputs=[workspace.videos_table])
    return workspace


def leak_of_a_sorted_cut(workspace: Workspace) -> float:
    """Return which share of the notebook's test fakes shows somebody from its training videos."""
    table = tables.read(workspace.videos_table, schema=tables.VIDEOS, columns=["video_id", "method", "compression"])
    rows = [row for row in table.to_pylist() if row["compression"] == "c23"]
    names = {
        method: sorted(row["video_id"] for row in rows if row["method"] == method)
        for method in ("original", METHODS[0])
    }
    trained = {person for found in names.values() for video_id in found[:800] for person in people_of_id(video_id)}
    tested = [people_of_id(video_id) for video_id in names[METHODS[0]][900:]]
    return sum(bool(set(people) & trained) for people in tested) / len(tested)


def main() -> int:
    """Print the figures; return 1 when one of them is missed."""
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder) / "workspace")
        for config in (SplitConfig(mode="official"), SplitConfig(mode="ratio", counts=(800, 100, 100), seed=42)):
            wall, cpu = time.perf_counter(), time.process_time()
            report = split_videos(workspace, config=config)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            refuse_torn_groups(tables.read(workspace.splits_table, schema=tables.SPLITS))
            people = "/".join(str(size["people"]) for size in report.table)
            missed |= wall > LIMIT_SECONDS
            print(
                f"{config.mode:<9} {wall:5.2f} s wall (at most {LIMIT_SECONDS:g}), {cpu:5.2f} CPU s   "
                f"{sum(report.counts[split] for split in ('train', 'val', 'test')):,} videos, "
                f"{report.counts['groups']} groups, people {people}, "
                f"{report.counts['collisions']} YouTube videos on two sides, no group torn"
            )
        leak = leak_of_a_sorted_cut(workspace)
        print(f"notebook  sorted names cut at 800 and 900: {leak:.0%} of its test fakes show somebody it trained on")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
