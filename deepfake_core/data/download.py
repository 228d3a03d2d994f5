"""Get the videos and verify them: from a source to the videos table.

``directory`` reads any tree in the layout of FaceForensics++ in place. Every file found becomes a row of
``tables.VIDEOS``; one that cannot be read is a row with a reason.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepfake_core import files, receipts, tables
from deepfake_core.config import DownloadConfig
from deepfake_core.data.layout import ORIGINAL, SUFFIX, Listing, VideoFile, list_videos
from deepfake_core.data.verify import FileState, verify_files
from deepfake_core.errors import DownloadError
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import Cell, StageReport
from deepfake_core.workspace import Workspace


def download_videos(workspace: Workspace, *, config: DownloadConfig, progress: Progress = SILENT) -> StageReport:
    """Get and verify the videos; write the videos table.

    Args:
        workspace: receives ``videos.parquet``.
        config: source, sets, compressions.
        progress: bars of fetching and verifying.

    Returns:
        Counts by status; ``failed`` counts the videos that are missing or unreadable.

    Raises:
        DownloadError: the source gives no videos at all.
    """
    listing = _list(config.path or workspace.videos, config)
    with receipts.open_stage(workspace, "download", config=config, external={"files": _digest(listing)}) as work:
        if work.found:
            return work.found
        rows = [
            _row(workspace, video, found)
            for video, found in verify_files(list(listing.videos), workers=config.workers, progress=progress)
        ]
        tables.write(workspace.videos_table, tables.from_rows(rows, tables.VIDEOS), schema=tables.VIDEOS)
        return work.finish(_report(workspace, listing, rows), outputs=[workspace.videos_table])


def _list(root: Path, config: DownloadConfig) -> Listing:
    listing = list_videos(
        root, datasets=config.datasets, compressions=config.compressions, num_videos=config.num_videos
    )
    if not listing.videos:
        raise DownloadError(_nothing_found(root, listing, config))
    return listing


def _nothing_found(root: Path, listing: Listing, config: DownloadConfig) -> str:
    asked = f"sets {', '.join(config.datasets)} at {', '.join(config.compressions)}"
    expected = "original_sequences/youtube/c23/videos/183.mp4, manipulated_sequences/Deepfakes/c23/videos/183_253.mp4"
    if not root.is_dir():
        found = "no such folder"
    elif listing.left_out:
        found = ", ".join(f"{count} in {folder}" for folder, count in listing.left_out.items())
    else:
        names = sorted(path.name for path in root.iterdir())
        found = ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "an empty folder"
    return (
        f"no videos in {root} ({asked}). Expected the layout of FaceForensics++, such as {expected}. Found: {found}. "
        "Point download.path at the folder that holds original_sequences and manipulated_sequences."
    )


def _digest(listing: Listing) -> str:
    states = [(video.video_id, FileState.of(video.path)) for video in listing.videos]
    return files.sha256_of_values([[video_id, state.bytes, state.mtime_ns] for video_id, state in states])


def _row(workspace: Workspace, video: VideoFile, found: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "video_id": video.video_id,
        "path": workspace.relative(video.path),
        "dataset": video.video_set.dataset,
        "method": video.video_set.method,
        "compression": video.compression,
        "name": video.name,
        "target": video.target,
        "source": video.source,
        "label": 0 if video.video_set.method == ORIGINAL else 1,
        **found,
    }
    return {**row, "status": "unreadable", "reason": video.problem} if video.problem else row


def _report(workspace: Workspace, listing: Listing, rows: Sequence[Mapping[str, Any]]) -> StageReport:
    by_status = Counter(str(row["status"]) for row in rows)
    originals = sum(row["label"] == 0 for row in rows)
    return StageReport(
        stage="download",
        counts={"videos": len(rows), "originals": originals, "manipulated": len(rows) - originals, **by_status},
        failed=len(rows) - by_status["ok"],
        notes=tuple(_notes(listing)),
        table=tuple(_by_set(rows)),
        outputs={"videos": str(workspace.videos_table), "source": str(listing.root.resolve())},
    )


def _notes(listing: Listing) -> list[str]:
    notes = [f"left out, not asked for: {count} videos in {folder}" for folder, count in listing.left_out.items()]
    if listing.strays:
        names = ", ".join(path.name for path in listing.strays[:5])
        notes.append(f"{len(listing.strays)} files are no {SUFFIX} videos by their names: {names}")
    return notes


def _by_set(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Cell]]:
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for row in rows:
        key = (row["dataset"], row["method"], row["compression"])
        counts.setdefault(key, Counter()).update([row["status"]])
    return [
        {"dataset": key[0], "method": key[1], "compression": key[2], "videos": count.total(), "ok": count["ok"]}
        for key, count in sorted(counts.items())
    ]
