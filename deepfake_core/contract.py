"""ModelContract: all a scorer must know of a model, carried inside the ONNX file itself.

The contract is one JSON string in the file's metadata. ``graph_sha256`` ties it to the graph: the digest of the model
with its metadata cleared. A file whose graph was exchanged, or whose contract is of another version, is refused.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import onnx
from google.protobuf.message import DecodeError
from pydantic import Field, ValidationError

from deepfake_core import files
from deepfake_core.config import Aggregation
from deepfake_core.errors import ContractError
from deepfake_core.specs import DetectorSpec, FaceSpec, Fraction, Sha256, Spec

VERSION = 1
METADATA_KEY = "deepfake.contract"


class Threshold(Spec):
    """A decision threshold on probabilities, and how it was chosen."""

    value: Fraction
    chosen_by: str


class ModelContract(Spec):
    """What training hands to scoring.

    Attributes:
        version: of this contract.
        name: what the model is called, such as ``xception``.
        face: how crops were made; its size is the model's input side.
        detector: how faces were found.
        frame_step: every how many frames a video is sampled when scored.
        aggregation: how frame scores become a video's score.
        frame_threshold: on frame probabilities.
        video_threshold: on video scores.
        min_faces: fewest faces for a verdict.
        positive_label: what a high score means.
        input_name: of the ONNX graph; float32 (batch, size, size, 3), RGB, 0–255.
        input_range: lowest and highest value of the input.
        logit_output: name of the output (batch, 1) before the sigmoid.
        probability_output: name of the output (batch, 1) after it.
        training_groups: ids of the groups in training and validation.
        training_people: the people of those groups. Groups are named anew by every split, people are not.
        test_groups: ids of the groups in test.
        dataset_digest: digest of the records that it was trained on.
        git_commit: of the code; null outside a checkout.
        mlflow_run_id: of the training.
        validation_metrics: by name.
        notes: what a reader must be told, such as which embedded data it was made of.
        graph_sha256: digest of the model with its metadata cleared.
    """

    version: int = VERSION
    name: str
    face: FaceSpec
    detector: DetectorSpec
    frame_step: Annotated[int, Field(ge=1)]
    aggregation: Aggregation
    frame_threshold: Threshold
    video_threshold: Threshold
    min_faces: Annotated[int, Field(ge=1)] = 1
    positive_label: str = "manipulated"
    input_name: str = "images"
    input_range: tuple[float, float] = (0.0, 255.0)
    logit_output: str = "logit"
    probability_output: str = "probability"
    training_groups: tuple[str, ...]
    training_people: tuple[str, ...] = ()
    test_groups: tuple[str, ...]
    dataset_digest: Sha256
    git_commit: str | None = None
    mlflow_run_id: str | None = None
    validation_metrics: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    graph_sha256: Sha256

    def to_metadata(self) -> dict[str, str]:
        """Return the contract as ONNX metadata."""
        return {METADATA_KEY: self.model_dump_json()}

    def was_trained_on(self, names: Iterable[str]) -> bool:
        """Say whether a group or a person of these ``names`` stands in training or validation."""
        return not {*self.training_groups, *self.training_people}.isdisjoint(names)


def graph_sha256(model: Any) -> str:
    """Return the digest of an ONNX model (``onnx.ModelProto``) with its metadata cleared."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return files.sha256_of_bytes(bare.SerializeToString(deterministic=True))


def embed(model: Any, contract: ModelContract) -> None:
    """Put ``contract`` into the metadata of an ONNX model, in place.

    Raises:
        ContractError: the contract belongs to another graph.
    """
    if contract.graph_sha256 != graph_sha256(model):
        message = f"the contract belongs to graph {contract.graph_sha256}, this model is {graph_sha256(model)}."
        raise ContractError(message)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, contract.to_metadata())


def read_contract(path: Path) -> ModelContract:
    """Read the contract of an ONNX file and prove that it belongs to the file's graph.

    Raises:
        ContractError: the file is missing or no ONNX model, carries no contract, one of another version, or one that
            belongs to another graph; or its weights lie in other files, which the graph's digest does not cover.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (OSError, DecodeError) as error:
        message = f"{path} cannot be read as an ONNX model: {error}"
        raise ContractError(message) from None
    outside = sorted(set(_files_outside(model.graph)))
    if outside:
        message = (
            f"{path} keeps weights outside, in {', '.join(outside)}, where they could be exchanged unseen. "
            "Save it as one file: onnx.save(onnx.load(path), path)."
        )
        raise ContractError(message)
    properties = {prop.key: prop.value for prop in model.metadata_props}
    if METADATA_KEY not in properties:
        message = f"{path} carries no {METADATA_KEY!r}: it was not made by 'deepfake export'."
        raise ContractError(message)
    try:
        contract = ModelContract.model_validate_json(properties[METADATA_KEY])
    except ValidationError as error:
        message = f"the contract of {path} is not of version {VERSION}: {error}"
        raise ContractError(message) from None
    if contract.version != VERSION:
        message = f"the contract of {path} has version {contract.version}, this program reads version {VERSION}."
        raise ContractError(message)
    if contract.graph_sha256 != graph_sha256(model):
        message = f"the graph of {path} is not the one its contract was written for; the file was altered."
        raise ContractError(message)
    return contract


def _files_outside(graph: Any) -> Iterator[str]:
    """Yield where tensors of ``graph`` and of its subgraphs lie, that do not lie in the model file."""
    tensors = [*graph.initializer]
    tensors += [part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices)]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _files_outside(subgraph)
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            places = {entry.key: entry.value for entry in tensor.external_data}
            yield places.get("location", "an unnamed file")
