"""One file for one model: an ONNX graph whose bytes depend only on what it computes.

tf2onnx numbers internal tensors by a process-wide counter and walks sets, so that two processes give different bytes
for equal models, and no digest could say that two exports are the same. Here nodes are put into the order in which the
outputs need them, internal tensors are named by that order, and attributes and weights are written in one way.
"""

import onnx
from onnx import numpy_helper

MAX_IR_VERSION = 10
"""Newest file format that onnxruntime 1.26 reads."""


def canonical(model: onnx.ModelProto, *, name: str) -> onnx.ModelProto:
    """Return an equal model in canonical form.

    Nodes that no output needs are left out; names of inputs and outputs are kept.

    Args:
        model: a flat graph, without ``If``, ``Loop`` and the like.
        name: of the graph.

    Raises:
        ValueError: a node holds a graph of its own.
    """
    graph = model.graph
    nodes = _in_order_of_need(graph)
    weights = {weight.name: weight for weight in graph.initializer}
    names = _names(graph, nodes, weights)
    tidy = onnx.helper.make_graph(
        [_renamed(node, names, index) for index, node in enumerate(nodes)],
        name,
        list(graph.input),
        list(graph.output),
        initializer=[
            numpy_helper.from_array(numpy_helper.to_array(weights[old]), names[old]) for old in names if old in weights
        ],
    )
    return onnx.helper.make_model(
        tidy,
        ir_version=min(model.ir_version, MAX_IR_VERSION),
        opset_imports=[opset for opset in model.opset_import if opset.domain in {node.domain for node in nodes}],
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )


def name_batch_axis(model: onnx.ModelProto, axis: str) -> None:
    """Call the first axis of every input and output ``axis``, in place: it may have any length."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = axis


def _in_order_of_need(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes depth first from the outputs, each after those that it reads."""
    maker = {output: node for node in graph.node for output in node.output if output}
    ordered: list[onnx.NodeProto] = []
    seen: set[int] = set()
    waiting = [(maker[output.name], False) for output in reversed(graph.output)]
    while waiting:
        node, inputs_are_done = waiting.pop()
        if inputs_are_done:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting += [(maker[read], False) for read in reversed(node.input) if read in maker]
    return ordered


def _names(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], weights: dict[str, onnx.TensorProto]) -> dict[str, str]:
    """Return the new name of every tensor by its old one, in the order of first use."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names[""] = ""  # an optional input that is left out
    for index, node in enumerate(nodes):
        for read in node.input:
            if read in weights and read not in names:
                names[read] = f"weight_{sum(old in weights for old in names)}"
        for number, made in enumerate(node.output):
            names.setdefault(made, f"{node.op_type}_{index}_{number}")
    return names


def _renamed(node: onnx.NodeProto, names: dict[str, str], index: int) -> onnx.NodeProto:
    if any(attribute.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS} for attribute in node.attribute):
        message = f"the canonical form is defined for flat graphs. Received: a node {node.op_type} with a graph in it"
        raise ValueError(message)
    fresh = onnx.NodeProto(op_type=node.op_type, domain=node.domain, name=f"{node.op_type}_{index}")
    fresh.input.extend(names[read] for read in node.input)
    fresh.output.extend(names[made] for made in node.output)
    fresh.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
    return fresh
