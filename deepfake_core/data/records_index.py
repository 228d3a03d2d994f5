"""RecordsIndex: what the TFRecord shards hold, readable without TensorFlow.

``records/index.json`` is written last, after every shard is in its place. Training, export and evaluation read from
it how faces were made, how many there are of each class, whose faces they are and which bytes stand behind them.
"""

from typing import Annotated, Self

from pydantic import Field, ValidationError

from deepfake_core import files
from deepfake_core.data.extraction_spec import ExtractionSpec
from deepfake_core.errors import MissingInput, WorkspaceError
from deepfake_core.specs import Sha256, Spec
from deepfake_core.workspace import Workspace

SCHEMA = 1
"""Version of the index and of the features in the records."""

Count = Annotated[int, Field(ge=0)]


class Shard(Spec):
    """One TFRecord file.

    Attributes:
        path: as the workspace stores it.
        faces: records in it; zero where there are more shards than faces.
        bytes: length of the file.
        sha256: digest of the file.
    """

    path: str
    faces: Count
    bytes: Count
    sha256: Sha256


class SplitRecords(Spec):
    """The shards of train, val or test.

    Attributes:
        faces: in all shards together.
        classes: faces by label, ``"0"`` original and ``"1"`` manipulated; both are always there.
        groups: groups of people who are seen, sorted.
        shards: in the order of their numbers.
    """

    faces: Count
    classes: dict[str, Count]
    groups: tuple[str, ...]
    shards: tuple[Shard, ...]


class RecordsIndex(Spec):
    """All shards of a workspace.

    Attributes:
        version: of the index, ``schema`` in the file.
        digest: of everything below: equal data sets have equal digests.
        seed: decided shard and place of every face.
        spec: how the faces were made.
        splits: by name, ``train``, ``val`` and ``test``.
    """

    version: int = Field(default=SCHEMA, alias="schema")
    digest: Sha256
    seed: int
    spec: ExtractionSpec
    splits: dict[str, SplitRecords]

    @classmethod
    def of(cls, *, seed: int, spec: ExtractionSpec, splits: dict[str, SplitRecords]) -> Self:
        """Return the index of finished shards, with its digest."""
        values = {
            "schema": SCHEMA,
            "seed": seed,
            "spec": spec.model_dump(mode="json"),
            "splits": {name: part.model_dump(mode="json") for name, part in splits.items()},
        }
        return cls.model_validate({**values, "digest": files.sha256_of_values(values)})

    def split(self, name: str) -> SplitRecords:
        """Return the records of one split.

        Raises:
            MissingInput: there is no such split.
        """
        if name not in self.splits:
            message = f"the records have no split {name!r}; they have: {', '.join(self.splits)}."
            raise MissingInput(message)
        return self.splits[name]


def write_index(workspace: Workspace, index: RecordsIndex) -> None:
    """Write ``records/index.json`` atomically; do it after all shards are in their places."""
    files.write_json(workspace.records_index, index.model_dump(mode="json", by_alias=True))


def read_index(workspace: Workspace) -> RecordsIndex:
    """Read ``records/index.json``.

    Raises:
        MissingInput: no records were written.
        WorkspaceError: the index is damaged or of another version.
    """
    try:
        values = files.read_json(workspace.records_index)
    except FileNotFoundError:
        message = f"{workspace.records_index} does not exist. Run: deepfake records --workspace {workspace.root}"
        raise MissingInput(message) from None
    except ValueError as error:
        raise _damaged(workspace, str(error)) from None
    found = values.get("schema") if isinstance(values, dict) else None
    if found != SCHEMA:
        raise _damaged(workspace, f"expected schema {SCHEMA}, found {found!r}")
    try:
        return RecordsIndex.model_validate(values)
    except ValidationError as error:
        raise _damaged(workspace, f"{error.error_count()} fields are not what they should be") from None


def refuse_damaged_shards(workspace: Workspace, name: str, part: SplitRecords) -> None:
    """Refuse shards that are missing or have another length than the index says.

    Lengths are looked at and no bytes are read, so it costs nothing; ``verify_records`` reads everything.

    Raises:
        WorkspaceError: names the first such shard and says what to do.
    """
    for shard in part.shards:
        path = workspace.resolve(shard.path)
        length = path.stat().st_size if path.is_file() else None
        if length != shard.bytes:
            found = "it is gone" if length is None else f"it has {length}"
            message = (
                f"the {name} shard {shard.path} should have {shard.bytes} bytes, {found}. "
                f"Write the records again: deepfake records --workspace {workspace.root}"
            )
            raise WorkspaceError(message)


def shards_are_whole(workspace: Workspace) -> bool:
    """Say whether index and shards are there, have their lengths and stand alone, so that others are written again."""
    try:
        index = read_index(workspace)
        for name, part in index.splits.items():
            refuse_damaged_shards(workspace, name, part)
    except (MissingInput, WorkspaceError):
        return False
    return not stray_shards(workspace, index)


def stray_shards(workspace: Workspace, index: RecordsIndex) -> list[str]:
    """Return the shards that no index knows: a reader that takes whatever lies in the folder would meet faces twice."""
    known = {shard.path for part in index.splits.values() for shard in part.shards}
    there = {workspace.relative(path) for path in workspace.records.glob("*/[!.]*.tfrecord")}
    return sorted(there - known)


def _damaged(workspace: Workspace, why: str) -> WorkspaceError:
    return WorkspaceError(
        f"{workspace.records_index} is damaged or of another version ({why}). "
        f"Delete it and run: deepfake records --workspace {workspace.root}"
    )
