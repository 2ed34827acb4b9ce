"""Reads TensorFlow Lite files through the `tflite` package, which parses and never runs them.

Constants come out as plain arrays: float16 and quantized ones are dequantized to float32.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
import torch
from torch import Tensor, nn

from mien.errors import ModelError
from mien.models.formats.onnx_graph import dequantize
from mien.models.hints import FETCH

Array = npt.NDArray[Any]

_LARGEST_FILE = 1 << 28  # bytes; the networks that are read have 3 MB
_MOST_NUMBERS = 1 << 27  # in all constants together: tables of a hostile file may name one buffer many times
_IDENTIFIER = b"TFL3"
_NUMPY_TYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "FLOAT64": "<f8", "INT8": "i1", "UINT8": "u1", "INT16": "<i2",
                "UINT16": "<u2", "INT32": "<i4", "UINT32": "<u4", "INT64": "<i8", "BOOL": "?"}
_TYPES = {getattr(tflite.TensorType, name): kind for name, kind in _NUMPY_TYPES.items()}
_CONV = ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "Padding", "FusedActivationFunction")
_POOL = ("StrideH", "StrideW", "FilterHeight", "FilterWidth", "Padding", "FusedActivationFunction")
_OPTIONS = {"CONV_2D": ("Conv2DOptions", _CONV),
            "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_CONV, "DepthMultiplier")),
            "MAX_POOL_2D": ("Pool2DOptions", _POOL), "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
            "ADD": ("AddOptions", ("FusedActivationFunction",)), "MUL": ("MulOptions", ("FusedActivationFunction",)),
            "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "KeepNumDims")),
            "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction"))}
# Where the layers' axes are in a file, in the order that torch has them in.
_TORCH_AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}
# What flatbuffers, struct and numpy raise where an offset, a length or a type is not one.
_BROKEN = (struct.error, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, OverflowError,
           MemoryError)


@dataclass(frozen=True)
class Operator:
    """Describes one operation of the graph.

    Attributes:
        kind: TFLite's name of it ("CONV_2D"). inputs, outputs: numbers of tensors; -1 is an input that is left out.
        options: its options as numbers, by TFLite's names ("StrideH"), for convolutions, pools and the like.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclass(frozen=True)
class TfliteGraph:
    """Holds the first graph of a TFLite file.

    Attributes:
        operators: in order of execution, without those that only dequantize constants.
        constants: by the number of the tensor. inputs, outputs: numbers of the graph's own tensors.
    """

    operators: tuple[Operator, ...]
    constants: dict[int, Array]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def parameters(self) -> list[Array]:
        """Lists the float constants as torch's layers hold them, in the order of the data through the graph.

        All that leads to the first output comes first, then what leads only to the second, and so on: the order in
        which modules register their parameters. Weights of convolutions become [out, in, kh, kw], slopes [channels].
        """
        return [_as_torch(operator.kind, self.constants[i]) for operator in self._by_output() for i in operator.inputs
                if i in self.constants and self.constants[i].dtype == np.float32]

    def _by_output(self) -> list[Operator]:
        """Orders the operators depth first from the outputs, without recursion: a hostile graph may be cyclic."""
        source = {i: number for number, operator in enumerate(self.operators) for i in operator.outputs}
        seen: set[int] = set()
        found: list[Operator] = []
        stack = [(source[i], False) for i in reversed(self.outputs) if i in source]
        while stack:
            number, done = stack.pop()
            if done:
                found.append(self.operators[number])
            elif number not in seen:
                seen.add(number)
                stack.append((number, True))
                stack += [(source[i], False) for i in reversed(self.operators[number].inputs) if i in source]
        return found


def read_tflite(path: Path) -> TfliteGraph:
    """Reads a TFLite file.

    Args:
        path: a file of at most 256 MiB.

    Raises:
        ModelError: the file is missing, truncated, damaged or not TFLite.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _damaged(path, "larger than 256 MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", FETCH) from error
    if data[4:8] != _IDENTIFIER:
        raise _damaged(path, "it does not begin as one")
    try:
        return _graph(tflite.Model.GetRootAsModel(data, 0))
    except _BROKEN as error:
        raise _damaged(path, str(error) or type(error).__name__) from error


def convert_tflite(source: Path, network: nn.Module, name: str) -> dict[str, Tensor]:
    """Converts a TFLite file to the state dict of a network whose layers are in the order of the file's graph.

    Args:
        name: the network's name in the error message.

    Raises:
        ModelError: the file is missing, damaged or holds another network.
    """
    arrays = read_tflite(source).parameters()
    try:
        state = {key: torch.tensor(array) for key, array in zip(network.state_dict(), arrays, strict=True)}
        network.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{source} does not hold {name}: {str(error).splitlines()[0]}", FETCH) from error
    return state


def _graph(model: Any) -> TfliteGraph:
    graph = model.Subgraphs(0)
    kinds = [_kind(model.OperatorCodes(k)) for k in range(model.OperatorCodesLength())]
    constants = _constants(model, graph)
    operators = []
    for k in range(graph.OperatorsLength()):
        operator = _operator(graph.Operators(k), kinds)
        if operator.kind == "DEQUANTIZE" and operator.inputs[0] in constants:
            constants[operator.outputs[0]] = constants[operator.inputs[0]].astype(np.float32)
        else:
            operators.append(operator)
    return TfliteGraph(tuple(operators), constants, _numbers(graph.InputsAsNumpy()), _numbers(graph.OutputsAsNumpy()))


def _kind(code: Any) -> str:
    # Codes above 127 are only in the newer field, older files have only the older one.
    return str(tflite.opcode2name(max(code.BuiltinCode(), code.DeprecatedBuiltinCode())))


def _operator(operator: Any, kinds: list[str]) -> Operator:
    kind, options = kinds[operator.OpcodeIndex()], {}
    if kind in _OPTIONS:
        name, fields = _OPTIONS[kind]
        table, read = operator.BuiltinOptions(), getattr(tflite, name)()
        read.Init(table.Bytes, table.Pos)
        options = {field: int(getattr(read, field)()) for field in fields}
    return Operator(kind, _numbers(operator.InputsAsNumpy()), _numbers(operator.OutputsAsNumpy()), options)


def _constants(model: Any, graph: Any) -> dict[int, Array]:
    found: dict[int, Array] = {}
    left = _MOST_NUMBERS
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        buffer = model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            found[i] = _constant(tensor, buffer)
            left -= found[i].size
            if left < 0:
                raise ValueError("its constants are too large")
    return found


def _constant(tensor: Any, buffer: Any) -> Array:
    shape = tuple(tensor.Shape(k) for k in range(tensor.ShapeLength()))
    values = np.frombuffer(buffer.DataAsNumpy().tobytes(), _TYPES[tensor.Type()]).reshape(shape)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    how = tensor.Quantization()
    if values.dtype.kind not in "iu" or how is None or not how.ScaleLength():
        return values
    scale, zero = np.asarray(how.ScaleAsNumpy()), None
    if how.ZeroPointLength():
        zero = np.asarray(how.ZeroPointAsNumpy())
    return dequantize(values, scale, zero, how.QuantizedDimension())


def _numbers(array: Any) -> tuple[int, ...]:
    """Converts a vector of numbers of tensors; flatbuffers gives 0 for one that is not there."""
    return tuple(int(i) for i in np.atleast_1d(array)) if isinstance(array, np.ndarray) else ()


def _as_torch(kind: str, values: Array) -> Array:
    if kind in _TORCH_AXES and values.ndim == 4:
        return np.ascontiguousarray(values.transpose(_TORCH_AXES[kind]))
    return values.reshape(-1) if kind == "PRELU" else values


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is not a usable TFLite file: {why}", FETCH)
