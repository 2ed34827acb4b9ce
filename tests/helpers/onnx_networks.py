"""Writes ONNX files that stand in for recognizers: their vectors tell what they were given."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

NCHW, NHWC = (1, 3, 112, 112), (1, 112, 112, 3)


def write_means(path: Path, shape: tuple[int | str | None, ...] = NCHW, axes: tuple[int, ...] = (2, 3), keep: int = 0,
                kind: int = TensorProto.FLOAT) -> Path:
    """Writes a network that averages its input over `axes`: by default, the mean of each channel."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=axes, keepdims=keep)
    ends = [[helper.make_tensor_value_info("x", kind, shape)], [helper.make_tensor_value_info("y", kind, None)]]
    graph = helper.make_graph([node], "test", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
