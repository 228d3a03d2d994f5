"""Get the videos and verify them: from a source to the videos table.

``directory`` reads any tree in the layout of FaceForensics++ in place. ``faceforensics`` fetches from the published
servers whatever is not there yet, goes on where a broken transfer stopped, and fetches a damaged file once more.
Every video is a row of ``tables.VIDEOS``; one that is missing or cannot be read is a row with a reason. Masks that are
asked for are fetched and verified in the same way and stand in a table of their own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepfake_core import files, receipts, tables
from deepfake_core.config import DownloadConfig
from deepfake_core.data import faceforensics
from deepfake_core.data.fetch import NotOnServer
from deepfake_core.data.layout import MASKS, ORIGINAL, SUFFIX, Listing, VideoFile, list_videos, printable
from deepfake_core.data.servers import Fetcher
from deepfake_core.data.verify import FileState, Found, Remembered, verify_files
from deepfake_core.errors import DownloadError, TermsNotAccepted
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import Cell, StageReport
from deepfake_core.workspace import Workspace

FETCH_ROUNDS = 2
"""A file that arrives damaged, or not at all, is fetched once more after all others."""
NAMED_IN_NOTES = 3
"""Files of each kind that a note names; the table has them all."""


def download_videos(workspace: Workspace, *, config: DownloadConfig, progress: Progress = SILENT) -> StageReport:
    """Get and verify the videos; write the videos table.

    Args:
        workspace: receives ``videos.parquet`` and, from a server, ``videos/`` and, for masks, ``masks.parquet``.
        config: source, sets, compressions.
        progress: bars of fetching and verifying.

    Returns:
        Counts by status; ``failed`` counts the videos and masks that are missing or unreadable.

    Raises:
        DownloadError: the source gives no videos at all, or the disk has no room.
        TermsNotAccepted: the terms of use were not accepted (``faceforensics``).
    """
    root = _root(workspace, config)
    if config.source == "directory":
        return _from_directory(workspace, root, config, progress)
    _refuse_unaccepted(workspace, config)
    return _from_servers(workspace, root, config, progress)


def list_directory(workspace: Workspace, *, config: DownloadConfig) -> pa.Table:
    """Return ``tables.VIDEOS`` as the names of the source ``directory`` promise it, without opening a single file."""
    listing = _list((config.path or workspace.videos).absolute(), config)
    rows = [_row(workspace, video, {"status": "ok"}) for video in listing.videos]
    return tables.from_rows(rows, tables.VIDEOS)


def accept_terms(workspace: Workspace) -> None:
    """Remember that the user of this workspace accepted the terms of use of FaceForensics++."""
    accepted = datetime.now(UTC).isoformat(timespec="seconds")
    values = {"terms": faceforensics.terms_url(DownloadConfig()), "accepted": accepted}
    files.write_json(workspace.terms, {"faceforensics": values})


def _refuse_unaccepted(workspace: Workspace, config: DownloadConfig) -> None:
    if not workspace.terms.is_file():
        message = (
            "FaceForensics++ is for those who asked its authors for access and accept its terms of use: "
            f"{faceforensics.terms_url(config)}. Read them, then run: deepfake download --accept-terms "
            f"--workspace {workspace.root}"
        )
        raise TermsNotAccepted(message)


def _from_directory(workspace: Workspace, root: Path, config: DownloadConfig, progress: Progress) -> StageReport:
    listing = _list(root, config)
    if not listing.videos:
        raise DownloadError(_nothing_found(root, listing, config))
    with receipts.open_stage(workspace, "download", config=config, external={"files": _digest(listing)}) as work:
        if work.found:
            return work.found
        found = _verify(workspace, listing.videos, config, progress)
        rows = _write(workspace, workspace.videos_table, listing.videos, found)
        workspace.masks_table.unlink(missing_ok=True)  # of an earlier source
        hint = "Put whole files in their place, and run the same command again."
        notes = [*_notes(listing), *_lost(rows, workspace.videos_table, "video", hint=hint)]
        report = _report(workspace, root, rows, notes=notes)
        return work.finish(report, outputs=[workspace.videos_table])


def _from_servers(workspace: Workspace, root: Path, config: DownloadConfig, progress: Progress) -> StageReport:
    root.mkdir(parents=True, exist_ok=True)
    here = {"files": _digest(_list(root, config))}
    with receipts.open_stage(workspace, "download", config=config, external=here) as work:
        if work.found:
            return work.found
        if root == workspace.videos:
            files.sweep_temporaries(root)  # nobody but us writes there
        with faceforensics.open_fetcher(config) as fetcher:
            names, notes = faceforensics.read_names(fetcher, root, datasets=config.datasets)
            videos = sorted(faceforensics.wanted_videos(names, root, config=config), key=lambda video: video.video_id)
            masks = faceforensics.wanted_masks(videos, root) if config.masks else []
            found = _fetch_and_verify(workspace, fetcher, [*videos, *masks], config, progress)
        if all(found[video.video_id]["status"] == "missing" for video in videos):
            message = f"the servers give none of the {len(videos)} videos: {found[videos[0].video_id]['reason']}"
            raise DownloadError(message)
        rows = _write(workspace, workspace.videos_table, videos, found)
        mask_rows = _write(workspace, workspace.masks_table, masks, found) if config.masks else []
        if not config.masks:
            workspace.masks_table.unlink(missing_ok=True)  # of an earlier run that asked for them
        hint = "Run the same command again: it fetches just what is missing or damaged."
        notes += _lost(rows, workspace.videos_table, "video", hint=hint)
        notes += _lost(mask_rows, workspace.masks_table, "mask", hint=hint)
        report = _report(workspace, root, rows, notes=notes, masks=mask_rows)
        # The next run asks again for what is missing or damaged, so this one must not count as found then.
        left = f"{report.failed} failed" if report.failed else _digest(_list(root, config))
        written = [workspace.videos_table, *([workspace.masks_table] if config.masks else [])]
        return work.finish(report, outputs=written, external={"files": left})


def _fetch_and_verify(
    workspace: Workspace, fetcher: Fetcher, videos: Sequence[VideoFile], config: DownloadConfig, progress: Progress
) -> dict[str, Found]:
    """Fetch what is not there, verify all, and do both once more where that may help; return video id → what it is."""
    root = _root(workspace, config)
    wanted = [faceforensics.wanted(video, root) for video in videos]
    failures: dict[Path, DownloadError] = {}
    found: dict[str, Found] = {}
    for turn in range(FETCH_ROUNDS):
        todo = [
            item for item in wanted if not item.path.exists() and not isinstance(failures.get(item.path), NotOnServer)
        ]
        for item in todo:
            failures.pop(item.path, None)
        failures |= faceforensics.fetch_files(
            fetcher, todo, root=root, connections=config.connections, progress=progress
        )
        found = _verify(workspace, [video for video in videos if video.path.exists()], config, progress)
        damaged = [video for video in videos if _is_damaged(found.get(video.video_id, {}))]
        if turn + 1 < FETCH_ROUNDS:
            for video in damaged:
                fetcher.doubt(faceforensics.wanted(video, root).relative)
                video.path.unlink()
    for video in videos:
        if error := failures.get(video.path):
            found[video.video_id] = {"status": "missing", "reason": f"{str(error).rstrip('.')}."}
    return found


def _is_damaged(found: Found) -> bool:
    """Return whether a file was read and judged; a verifier that died or could not read says nothing about it."""
    return found.get("status") == "unreadable" and "sha256" in found


def _root(workspace: Workspace, config: DownloadConfig) -> Path:
    return (config.path or workspace.videos).absolute()


def _list(root: Path, config: DownloadConfig) -> Listing:
    if config.source == "directory":
        return list_videos(
            root, datasets=config.datasets, compressions=config.compressions, num_videos=config.num_videos
        )
    folders = (*config.compressions, *([MASKS] if config.masks else []))
    return list_videos(root, datasets=config.datasets, compressions=folders)


def _verify(
    workspace: Workspace, videos: Sequence[VideoFile], config: DownloadConfig, progress: Progress
) -> dict[str, Found]:
    remembered = Remembered(workspace.verified_videos)
    return verify_files(videos, remembered=remembered, workers=config.workers, progress=progress)


def _write(
    workspace: Workspace, table: Path, videos: Sequence[VideoFile], found: Mapping[str, Found]
) -> list[dict[str, Any]]:
    rows = [_row(workspace, video, found[video.video_id]) for video in videos]
    tables.write(table, tables.from_rows(rows, tables.VIDEOS), schema=tables.VIDEOS)
    return rows


def _row(workspace: Workspace, video: VideoFile, found: Found) -> dict[str, Any]:
    row = {
        "video_id": video.video_id,
        "path": printable(workspace.relative(video.path)),
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


def _digest(listing: Listing) -> str:
    states = [(video.video_id, FileState.of(video.path)) for video in listing.videos]
    return files.sha256_of_values([[video_id, state.bytes, state.mtime_ns] for video_id, state in states])


def _nothing_found(root: Path, listing: Listing, config: DownloadConfig) -> str:
    asked = f"sets {', '.join(config.datasets)} at {', '.join(config.compressions)}"
    expected = "original_sequences/youtube/c23/videos/183.mp4, manipulated_sequences/Deepfakes/c23/videos/183_253.mp4"
    if not root.is_dir():
        found = "no such folder"
    elif listing.left_out:
        found = ", ".join(f"{count} in {folder}" for folder, count in listing.left_out.items())
    else:
        names = sorted(printable(path.name) for path in root.iterdir())
        found = ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "an empty folder"
    return (
        f"no videos in {root} ({asked}). Expected the layout of FaceForensics++, such as {expected}. Found: {found}. "
        "Point download.path at the folder that holds original_sequences and manipulated_sequences, or fetch them "
        "from the published servers: --set download.source=faceforensics"
    )


def _notes(listing: Listing) -> list[str]:
    notes = [f"left out, not asked for: {count} videos in {folder}" for folder, count in listing.left_out.items()]
    if listing.strays:
        names = ", ".join(printable(path.name) for path in listing.strays[:5])
        notes.append(f"{len(listing.strays)} files are no {SUFFIX} videos by their names: {names}")
    return notes


def _lost(rows: Sequence[Mapping[str, Any]], table: Path, kind: str, *, hint: str) -> list[str]:
    lost = [row for row in rows if row["status"] != "ok"]
    if not lost:
        return []
    count = f"1 {kind} is" if len(lost) == 1 else f"{len(lost):,} {kind}s are"
    named = ", ".join(f"{row['path']} ({str(row['reason']).rstrip('.')})" for row in lost[:NAMED_IN_NOTES])
    more = ", …" if len(lost) > NAMED_IN_NOTES else ""
    return [f"{count} missing or unreadable, {table.name} says why: {named}{more}. {hint}"]


def _report(
    workspace: Workspace,
    root: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    notes: Sequence[str],
    masks: Sequence[Mapping[str, Any]] = (),
) -> StageReport:
    by_status = Counter(str(row["status"]) for row in rows)
    originals = sum(row["label"] == 0 for row in rows)
    counts = {"videos": len(rows), "originals": originals, "manipulated": len(rows) - originals, **by_status}
    return StageReport(
        stage="download",
        counts={**counts, "masks": len(masks)} if masks else counts,
        failed=sum(row["status"] != "ok" for row in (*rows, *masks)),
        notes=tuple(notes),
        table=tuple(_by_set([*rows, *masks])),
        outputs={"videos": str(workspace.videos_table), "source": str(root.resolve())},
    )


def _by_set(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Cell]]:
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for row in rows:
        key = (row["dataset"], row["method"], row["compression"])
        counts.setdefault(key, Counter()).update([row["status"]])
    return [
        {"dataset": key[0], "method": key[1], "compression": key[2], "videos": count.total(), "ok": count["ok"]}
        for key, count in sorted(counts.items())
    ]
