"""How the faces of a workspace were made, carried by the table of extractions and handed on to the records.

A model that is trained on the faces must remember it: the crop, the detector with the digest of the weights that were
really used, and the frames. The configuration alone does not say it, because it may leave the weights to be found.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from deepfake_core import tables
from deepfake_core.errors import StaleInput
from deepfake_core.specs import DetectorSpec, FaceSpec, SamplingSpec, Spec
from deepfake_core.workspace import Workspace

_KEY = b"deepfake.spec"


class ExtractionSpec(Spec):
    """How faces were made.

    Attributes:
        face: how they were cropped.
        detector: how they were found, with the digest of the weights.
        sampling: on which frames.
    """

    face: FaceSpec
    detector: DetectorSpec
    sampling: SamplingSpec


def schema_with_spec(spec: ExtractionSpec) -> pa.Schema:
    """Return ``tables.EXTRACTIONS`` with the spec in its metadata, for writing the table."""
    stored = json.dumps(spec.model_dump(mode="json"), sort_keys=True).encode()
    return tables.EXTRACTIONS.with_metadata({**tables.EXTRACTIONS.metadata, _KEY: stored})


def read_extraction_spec(workspace: Workspace) -> ExtractionSpec:
    """Read the spec that the table of extractions carries.

    Raises:
        MissingInput: there is no such table.
        StaleInput: the table does not say it.
    """
    tables.check(workspace.extractions_table, schema=tables.EXTRACTIONS)
    stored = (pq.read_schema(workspace.extractions_table).metadata or {}).get(_KEY)
    try:
        return ExtractionSpec.model_validate(json.loads(stored or b"null"))
    except (ValueError, ValidationError):
        message = (
            f"{workspace.extractions_table} does not say how its faces were made (no {_KEY.decode()!r}). "
            f"Extract again: deepfake extract --workspace {workspace.root}"
        )
        raise StaleInput(message) from None
