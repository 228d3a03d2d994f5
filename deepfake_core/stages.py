"""The stages in the order of the data: what each one reads, and which version of its code made its output.

This is the graph that receipts, ``deepfake status``, the pipeline and the flows share. What a stage does is in the
module that is named after it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: also the name of its configuration section, its CLI command and its receipt.
        purpose: half a line for people.
        reads: stages whose output it reads.
        schema: raised whenever the same inputs and configuration would give another output.
    """

    name: str
    purpose: str
    reads: tuple[str, ...]
    schema: int = 1


STAGES: tuple[Stage, ...] = (
    Stage("sample", "generate the embedded data set", ()),
    Stage("download", "get and verify the videos", ()),
    Stage("split", "give whole groups of people to train, val and test", ("download",)),
    Stage("extract", "find, follow and crop faces", ("download",), schema=2),
    Stage("validate", "hold the data against the expectation suites", ("download", "split", "extract")),
    Stage("records", "write TFRecord shards", ("split", "extract", "validate")),
    Stage("train", "train the Xception", ("records",)),
    Stage("export", "export to ONNX and prove parity", ("records", "train")),
    Stage("evaluate", "score the test split, once", ("split", "extract", "export")),
    Stage("register", "register the model as challenger", ("export", "evaluate")),
    Stage("promote", "let it through the gate to production", ("register",)),
    Stage("score", "score videos with the production model", ("promote",), schema=2),
)

_BY_NAME = {stage.name: stage for stage in STAGES}


def stage_named(name: str) -> Stage:
    """Return the stage called ``name``."""
    return _BY_NAME[name]
