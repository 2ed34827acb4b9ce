"""Reads an ONNX file: its constants as numpy arrays and its nodes, in graph order.

It supports what the networks of this package need: constants that are stored, dequantized or reshaped.
Nothing in the file is executed, and nothing outside the file is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from mien.errors import ModelError
from mien.models.hints import FETCH

Array = npt.NDArray[Any]
_LARGEST_FILE = 2 << 30  # bytes; the limit of protobuf


@dataclass(frozen=True)
class Node:
    """One operation of the graph.

    Attributes:
        op: the ONNX operator ("Conv", "PRelu", ...).
        inputs: names of values and constants; "" stands for an omitted optional input.
        outputs: names of the values that it computes.
        attributes: the attributes by name; tensors are numpy arrays, strings are str.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxGraph:
    """The graph of an ONNX file.

    Attributes:
        constants: arrays by the name that the nodes use, in graph order: initializers first, then the
            outputs of Constant, DequantizeLinear, Reshape and Identity of constants.
        nodes: the other nodes, in graph order.
        inputs: names of the graph's inputs that are not constants.
        outputs: names of the graph's outputs.
    """

    constants: dict[str, Array]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> OnnxGraph:
    """Reads an ONNX file and evaluates the nodes that only rearrange or dequantize constants.

    Args:
        path: a file of at most 2 GiB that contains its tensors.

    Raises:
        ModelError: the file is missing, truncated, not ONNX, refers to other files, or its constants do not
            fit together.
    """
    graph = _parse(path).graph
    try:
        constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
        nodes = _fold_constants([_node(proto) for proto in graph.node], constants)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError) as error:
        raise _damaged(path, str(error)) from error
    return OnnxGraph(
        constants=constants,
        nodes=tuple(nodes),
        inputs=tuple(value.name for value in graph.input if value.name not in constants),
        outputs=tuple(value.name for value in graph.output),
    )


def dequantize(
    values: Array, scale: Array, zero_point: Array | None = None, axis: int = 1, block_size: int = 0
) -> npt.NDArray[np.float32]:
    """Computes ONNX' DequantizeLinear: (values - zero_point) * scale, rounded to float32 once.

    Args:
        values: integers of any shape.
        scale: float32: one number, one per index of `axis`, or (block_size > 0) of the shape of `values`
            but with ceil(n / block_size) entries along `axis`.
        zero_point: integers of the shape of `scale`; 0 if omitted.
        axis: the axis that `scale` runs along; negative numbers count from the end.
        block_size: number of neighbors along `axis` that share a scale; 0 if there are no blocks.

    Raises:
        ValueError: the shapes do not fit together.

    Source: the ONNX operator specification, DequantizeLinear, opset 21.
    """
    if values.dtype.kind not in "iu":
        raise ValueError(f"quantized values of type {values.dtype}")
    zero = np.zeros(scale.shape, np.int64) if zero_point is None else zero_point.astype(np.int64)
    if zero.shape != scale.shape:
        raise ValueError(f"scale {scale.shape} and zero point {zero.shape} differ in shape")
    spread = _spreader(values.shape, scale.shape, axis, block_size)
    centered = (values.astype(np.int64) - spread(zero)).astype(np.float32)
    return np.asarray(centered * spread(scale.astype(np.float32)), dtype=np.float32)


def _spreader(
    shape: tuple[int, ...], scale: tuple[int, ...], axis: int, block_size: int
) -> Callable[[Array], Array]:
    """Returns a function that broadcasts an array of the scale's shape to the values' shape."""
    if block_size == 0 and scale in ((), (1,)):
        return lambda a: a.reshape(())
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} of an array of shape {shape}")
    axis %= len(shape)
    length = shape[axis]
    if block_size == 0:
        if scale != (length,):
            raise ValueError(f"scale {scale} along axis {axis} of {shape}")
        column = tuple(length if i == axis else 1 for i in range(len(shape)))
        return lambda a: a.reshape(column)
    if block_size < 0 or scale != (*shape[:axis], -(-length // block_size), *shape[axis + 1 :]):
        raise ValueError(f"scale {scale} in blocks of {block_size} along axis {axis} of {shape}")
    block_of = np.arange(length) // block_size
    return lambda a: np.take(a, block_of, axis=axis)


def _parse(path: Path) -> onnx.ModelProto:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _damaged(path, "larger than 2 GiB")
        model = onnx.ModelProto()
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", FETCH) from error
    except DecodeError as error:
        raise _damaged(path, str(error)) from error
    return model


def _fold_constants(nodes: list[Node], constants: dict[str, Array]) -> list[Node]:
    """Moves the outputs of constant nodes into `constants` and returns the other nodes."""
    left = []
    for node in nodes:
        value = _constant_output(node, constants)
        if value is None:
            left.append(node)
        else:
            constants[node.outputs[0]] = value
    return left


def _constant_output(node: Node, constants: dict[str, Array]) -> Array | None:
    """Returns the output of a node whose inputs are all constants; None for any other node."""
    if node.op == "Constant" and "value" in node.attributes:
        return np.asarray(node.attributes["value"])
    if node.op not in {"DequantizeLinear", "Reshape", "Identity"}:
        return None
    if any(name and name not in constants for name in node.inputs):
        return None
    arrays = [constants[name] for name in node.inputs if name]
    if node.op == "DequantizeLinear":
        axis, block_size = node.attributes.get("axis", 1), node.attributes.get("block_size", 0)
        return dequantize(arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None, axis, block_size)
    if node.op == "Reshape":
        return _reshape(arrays[0], arrays[1], bool(node.attributes.get("allowzero", 0)))
    return arrays[0]


def _reshape(array: Array, shape: Array, allow_zero: bool) -> Array:
    """Computes ONNX' Reshape: 0 keeps the length of that axis (unless `allow_zero`), -1 is inferred."""
    sizes = [int(size) for size in shape]
    return array.reshape([array.shape[i] if n == 0 and not allow_zero else n for i, n in enumerate(sizes)])


def _node(proto: onnx.NodeProto) -> Node:
    attributes = {attribute.name: _attribute(attribute) for attribute in proto.attribute}
    return Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _array(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _array(tensor: onnx.TensorProto) -> Array:
    """Reads a tensor stored inside the file; a reference to another file is refused, as it could name any file."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"tensor {tensor.name!r} is kept in another file")
    return np.asarray(numpy_helper.to_array(tensor))


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is not a usable ONNX file: {why}", FETCH)
