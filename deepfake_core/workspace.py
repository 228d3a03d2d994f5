"""Workspace: one folder that holds everything a team made, and every path inside it by name.

No other module knows where anything lies.
"""

import json
from pathlib import Path

from deepfake_core import files
from deepfake_core.errors import WorkspaceError

SCHEMA = 1
"""Version of the layout and of the tables. Raised when an older workspace can no longer be read."""

LONGEST_NAME = 200
"""Bytes of a video's name that are kept in the name of its faces file; file systems allow 255 with the suffix."""

SPLITS = ("train", "val", "test")


class Workspace:
    """The paths of one workspace.

    ``Workspace(root)`` only names paths. ``Workspace.open(root)`` creates the folder when needed and checks that it
    is a workspace of this schema version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()

    @classmethod
    def open(cls, root: Path) -> "Workspace":
        """Create or open the workspace at ``root``.

        Raises:
            WorkspaceError: the path is a file, cannot be written, holds other things, or holds a workspace of
                another schema version.
        """
        workspace = cls(root)
        if workspace.marker.is_file():
            workspace._check_schema()
            return workspace
        if workspace.root.exists() and not workspace.root.is_dir():
            message = f"{workspace.root} is a file; a workspace is a folder. Choose another --workspace."
            raise WorkspaceError(message)
        try:
            workspace.root.mkdir(parents=True, exist_ok=True)
            strangers = sorted(path.name for path in workspace.root.iterdir() if path.name != "videos")
            if strangers:
                message = (
                    f"{workspace.root} is not empty and not a workspace (found: {', '.join(strangers[:5])}). "
                    "Choose an empty folder for --workspace."
                )
                raise WorkspaceError(message)
            files.write_json(workspace.marker, {"schema": SCHEMA})
        except OSError as error:
            message = f"cannot create a workspace at {workspace.root}: {error.strerror or error}."
            raise WorkspaceError(message) from error
        return workspace

    @classmethod
    def existing(cls, root: Path) -> "Workspace":
        """Open the workspace at ``root`` without creating one.

        Raises:
            WorkspaceError: there is no workspace at ``root``, or one of another schema version.
        """
        workspace = cls(root)
        if not workspace.marker.is_file():
            message = f"{workspace.root} is not a workspace (no {workspace.marker.name}). Run a stage there first."
            raise WorkspaceError(message)
        workspace._check_schema()
        return workspace

    def _check_schema(self) -> None:
        try:
            schema = files.read_json(self.marker)["schema"]
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
            message = f"{self.marker} is damaged: expected {{'schema': {SCHEMA}}}."
            raise WorkspaceError(message) from None
        if schema != SCHEMA:
            message = (
                f"the workspace {self.root} has schema version {schema}, this program reads version {SCHEMA}. "
                "Use the program version that made it, or start a new workspace."
            )
            raise WorkspaceError(message)

    def relative(self, path: Path) -> str:
        """Return ``path`` as it is stored in tables: relative inside the workspace, absolute elsewhere."""
        resolved = path.resolve()
        return resolved.relative_to(self.root).as_posix() if resolved.is_relative_to(self.root) else str(resolved)

    def resolve(self, stored: str) -> Path:
        """Return the path that ``relative`` stored."""
        return self.root / stored

    @property
    def marker(self) -> Path:
        """The file that makes a folder a workspace, with the schema version."""
        return self.root / "workspace.json"

    @property
    def config_file(self) -> Path:
        """YAML: the effective configuration of the last command, used where a command is given none."""
        return self.root / "config.yaml"

    @property
    def videos(self) -> Path:
        """Downloaded or generated videos in the layout of FaceForensics++."""
        return self.root / "videos"

    @property
    def videos_table(self) -> Path:
        """Parquet, ``tables.VIDEOS``: a row a video."""
        return self.root / "videos.parquet"

    @property
    def masks_table(self) -> Path:
        """Parquet, ``tables.VIDEOS``: a row a mask video, where masks were asked for."""
        return self.root / "masks.parquet"

    @property
    def splits_table(self) -> Path:
        """Parquet, ``tables.SPLITS``: group and split of each video."""
        return self.root / "splits.parquet"

    @property
    def faces(self) -> Path:
        """One Parquet file a video, ``tables.FACES``, at ``<video_id>.parquet``."""
        return self.root / "faces"

    def faces_of(self, video_id: str) -> Path:
        """Return the faces file of a video; a name too long for file systems is cut and marked by its digest.

        Raises:
            WorkspaceError: the id would leave the folder of faces.
        """
        name = video_id.rpartition("/")[2]
        if len(name.encode()) > LONGEST_NAME:
            kept = name.encode()[: LONGEST_NAME - 17].decode(errors="ignore")
            video_id = f"{video_id.removesuffix(name)}{kept}-{files.sha256_of_bytes(name.encode())[:16]}"
        path = self.faces / f"{video_id}.parquet"
        if ".." in Path(video_id).parts or Path(video_id).is_absolute():
            message = f"the video id {video_id!r} would leave {self.faces}."
            raise WorkspaceError(message)
        return path

    @property
    def faces_index(self) -> Path:
        """Parquet, ``tables.FACES`` without the images: all faces of all videos."""
        return self.root / "faces.parquet"

    @property
    def extractions_table(self) -> Path:
        """Parquet, ``tables.EXTRACTIONS``: a row a video that was looked at."""
        return self.root / "extractions.parquet"

    @property
    def records(self) -> Path:
        """TFRecord shards at ``<split>/NNNNN-of-NNNNN.tfrecord`` and ``index.json``."""
        return self.root / "records"

    @property
    def records_index(self) -> Path:
        """Counts, digests and spec of the shards; written last."""
        return self.records / "index.json"

    @property
    def models(self) -> Path:
        """The trained and the exported model."""
        return self.root / "models"

    @property
    def keras_model(self) -> Path:
        """The best epoch of the latest training."""
        return self.models / "model.keras"

    @property
    def training_record(self) -> Path:
        """JSON: MLflow run id, best epoch, history and provenance of ``keras_model``."""
        return self.models / "training.json"

    @property
    def checkpoints(self) -> Path:
        """State of a training under way, from which a killed run goes on."""
        return self.models / "checkpoints"

    @property
    def onnx_model(self) -> Path:
        """The exported model with its contract inside."""
        return self.models / "model.onnx"

    @property
    def parity_report(self) -> Path:
        """JSON: how far Keras and onnxruntime agree."""
        return self.models / "parity.json"

    @property
    def weights(self) -> Path:
        """Verified detector weights at ``<sha256>.<suffix>``."""
        return self.root / "weights"

    @property
    def predictions(self) -> Path:
        """Stored test predictions, one Parquet file an ONNX digest, ``tables.PREDICTIONS``."""
        return self.root / "predictions"

    def predictions_of(self, onnx_sha256: str) -> Path:
        """Return the stored predictions of one exported model."""
        return self.predictions / f"{onnx_sha256}.parquet"

    @property
    def reports(self) -> Path:
        """What people read: quality, leaks, evaluation, promotion."""
        return self.root / "reports"

    @property
    def quality_report(self) -> Path:
        """Self-contained HTML of the data-quality gate; its results as a table and as JSON lie beside it."""
        return self.reports / "quality" / "index.html"

    @property
    def quality_results(self) -> Path:
        """Parquet, ``tables.QUALITY``: a row an expectation, with what was observed and what was allowed."""
        return self.reports / "quality" / "results.parquet"

    @property
    def leak_report(self) -> Path:
        """Self-contained HTML of groups, collisions and counts by split."""
        return self.reports / "split" / "index.html"

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluation's ``metrics.json``, ``index.html`` and plots."""
        return self.reports / "evaluation"

    @property
    def promotions(self) -> Path:
        """Folder of one report a promotion decision."""
        return self.reports / "promotion"

    @property
    def decisions(self) -> Path:
        """JSON lines: every decision of the promotion gate and every rollback, appended."""
        return self.promotions / "decisions.jsonl"

    @property
    def scores(self) -> Path:
        """Score tables, and what scoring keeps of each video so that it goes on after a kill."""
        return self.root / "scores"

    @property
    def registration(self) -> Path:
        """JSON: name, version and digest of the latest registered model."""
        return self.models / "registration.json"

    def registered_model(self, onnx_sha256: str) -> Path:
        """Return where a model of the registry is kept once it was downloaded."""
        return self.models / "registry" / f"{onnx_sha256}.onnx"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite database, where no other tracking server is configured."""
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifacts of the runs in ``mlflow_db``."""
        return self.root / "mlartifacts"

    @property
    def receipts(self) -> Path:
        """One receipt a finished stage."""
        return self.root / "receipts"

    @property
    def split_lists(self) -> Path:
        """Folder: what each URL of split lists gave last, for when it does not answer."""
        return self.receipts / "lists"

    @property
    def verified_videos(self) -> Path:
        """JSON lines: what was found in each video file, so that unchanged files are not read again."""
        return self.receipts / "verified.jsonl"

    @property
    def terms(self) -> Path:
        """JSON: which terms of use were accepted, when."""
        return self.root / "terms.json"
