"""TFLite files: the layers' order and axes, dequantized constants, and files that are none, refused at no cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ModelError
from mien.models.formats.tflite_file import Operator, TfliteGraph, read_tflite

KINDS = {np.dtype(np.float32): "FLOAT32", np.dtype(np.float16): "FLOAT16", np.dtype(np.int8): "INT8",
         np.dtype(np.int32): "INT32"}
Builder = Any


def vector(builder: Builder, start: Callable[[Builder, int], Any], items: list[int], numbers: bool = False) -> int:
    start(builder, len(items))
    for item in reversed(items):
        (builder.PrependInt32 if numbers else builder.PrependUOffsetTRelative)(item)
    return int(builder.EndVector())


def tensor(builder: Builder, shape: tuple[int, ...], kind: str, buffer: int,
           quantized: tuple[list[float], list[int], int] | None = None) -> int:
    how = 0
    if quantized:
        scale = builder.CreateNumpyVector(np.array(quantized[0], np.float32))
        zero = builder.CreateNumpyVector(np.array(quantized[1], np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scale)
        tflite.QuantizationParametersAddZeroPoint(builder, zero)
        tflite.QuantizationParametersAddQuantizedDimension(builder, quantized[2])
        how = tflite.QuantizationParametersEnd(builder)
    sizes = vector(builder, tflite.TensorStartShapeVector, list(shape), numbers=True)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, sizes)
    tflite.TensorAddType(builder, getattr(tflite.TensorType, kind))
    tflite.TensorAddBuffer(builder, buffer)
    if how:
        tflite.TensorAddQuantization(builder, how)
    return int(tflite.TensorEnd(builder))


def operator(builder: Builder, code: int, inputs: list[int], outputs: list[int], stride: int | None) -> int:
    options = 0
    if stride is not None:
        tflite.Conv2DOptionsStart(builder)
        tflite.Conv2DOptionsAddStrideH(builder, stride)
        tflite.Conv2DOptionsAddStrideW(builder, stride)
        options = tflite.Conv2DOptionsEnd(builder)
    given_inputs = vector(builder, tflite.OperatorStartInputsVector, inputs, numbers=True)
    given_outputs = vector(builder, tflite.OperatorStartOutputsVector, outputs, numbers=True)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, given_inputs)
    tflite.OperatorAddOutputs(builder, given_outputs)
    if options:
        tflite.OperatorAddBuiltinOptionsType(builder, tflite.BuiltinOptions.Conv2DOptions)
        tflite.OperatorAddBuiltinOptions(builder, options)
    return int(tflite.OperatorEnd(builder))


KERNEL = np.arange(2 * 3 * 3 * 4, dtype=np.float16).reshape(2, 3, 3, 4) / 8  # out, height, width, in
BIAS = np.array([-3, 5], np.int8)
SLOPE = np.array([[[0.25, 0.5]]], np.float32)
PADDING = np.array([[0, 0], [1, 2]], np.int32)


def small() -> bytes:
    """A convolution of stride 2 with a float16 kernel and an 8-bit bias, then PReLU; and a table of whole numbers."""
    builder = flatbuffers.Builder(0)
    arrays = [KERNEL, BIAS, SLOPE, PADDING]
    buffers = []
    for array in [None, *arrays]:
        data = builder.CreateByteVector(array.tobytes()) if array is not None else 0
        tflite.BufferStart(builder)
        if data:
            tflite.BufferAddData(builder, data)
        buffers.append(tflite.BufferEnd(builder))
    tensors = [tensor(builder, (1, 8, 8, 4), "FLOAT32", 0)]
    for i, array in enumerate(arrays):
        quantized = ([0.5, 0.25], [1, -1], 0) if array is BIAS else None
        tensors.append(tensor(builder, array.shape, KINDS[array.dtype], i + 1, quantized))
    tensors += [tensor(builder, KERNEL.shape, "FLOAT32", 0), tensor(builder, (1, 3, 3, 2), "FLOAT32", 0),
                tensor(builder, (1, 3, 3, 2), "FLOAT32", 0)]
    operators = [operator(builder, 0, [1], [5], None), operator(builder, 1, [0, 5, 2], [6], 2),
                 operator(builder, 2, [6, 3], [7], None)]
    given_tensors = vector(builder, tflite.SubGraphStartTensorsVector, tensors)
    given_operators = vector(builder, tflite.SubGraphStartOperatorsVector, operators)
    ends = [vector(builder, start, [i], numbers=True)
            for start, i in ((tflite.SubGraphStartInputsVector, 0), (tflite.SubGraphStartOutputsVector, 7))]
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, given_tensors)
    tflite.SubGraphAddInputs(builder, ends[0])
    tflite.SubGraphAddOutputs(builder, ends[1])
    tflite.SubGraphAddOperators(builder, given_operators)
    graph = vector(builder, tflite.ModelStartSubgraphsVector, [tflite.SubGraphEnd(builder)])
    codes = []
    for kind in ("DEQUANTIZE", "CONV_2D", "PRELU"):
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, getattr(tflite.BuiltinOperator, kind))
        tflite.OperatorCodeAddBuiltinCode(builder, getattr(tflite.BuiltinOperator, kind))
        codes.append(tflite.OperatorCodeEnd(builder))
    given_codes = vector(builder, tflite.ModelStartOperatorCodesVector, codes)
    given_buffers = vector(builder, tflite.ModelStartBuffersVector, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, given_codes)
    tflite.ModelAddSubgraphs(builder, graph)
    tflite.ModelAddBuffers(builder, given_buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


SMALL = small()


def read(folder: Path, data: bytes) -> TfliteGraph:
    (folder / "small.tflite").write_bytes(data)
    return read_tflite(folder / "small.tflite")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    graph = read(tmp_path, SMALL)
    assert graph.inputs == (0,) and graph.outputs == (7,)
    assert [(one.kind, one.inputs, one.outputs) for one in graph.operators] == [
        ("CONV_2D", (0, 5, 2), (6,)), ("PRELU", (6, 3), (7,))]
    assert graph.operators[0].options["StrideH"] == graph.operators[0].options["StrideW"] == 2
    np.testing.assert_array_equal(graph.constants[5], KERNEL.astype(np.float32))  # what only dequantizes is folded
    np.testing.assert_array_equal(graph.constants[2], [-2.0, 1.5])  # (-3 - 1) / 2 and (5 + 1) / 4
    np.testing.assert_array_equal(graph.constants[4], PADDING)
    assert graph.constants[5].dtype == graph.constants[2].dtype == np.float32


def test_parameters_are_torch_s(tmp_path: Path) -> None:
    kernel, bias, slope = read(tmp_path, SMALL).parameters()
    assert kernel.shape == (2, 4, 3, 3) and kernel[1, 3, 0, 2] == KERNEL[1, 0, 2, 3]
    assert bias.shape == slope.shape == (2,)


def test_parameters_follow_the_outputs() -> None:
    """The first output's branch comes first, whatever the order in the file; a cycle ends."""
    constants = {i: np.full(1, i, np.float32) for i in (10, 11, 12)}
    operators = (Operator("MUL", (0, 10), (1,), {}), Operator("MUL", (1, 11), (2,), {}),
                 Operator("MUL", (1, 12), (3,), {}))
    found = TfliteGraph(operators, constants, (0,), (3, 2)).parameters()
    assert [float(one[0]) for one in found] == [10, 12, 11]
    circle = (Operator("MUL", (2, 10), (1,), {}), Operator("MUL", (1, 11), (2,), {}))
    assert len(TfliteGraph(circle, constants, (0,), (2,)).parameters()) == 2


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"no network" * 50, b"\x1c\0\0\0TFL3" + b"\xff" * 500])
def test_what_is_no_tflite_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelError, match="not a usable TFLite file"):
        read(tmp_path, data)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_tflite(tmp_path / "missing.tflite")


def test_one_buffer_in_many_tensors_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.models.formats.tflite_file._MOST_NUMBERS", KERNEL.size)
    with pytest.raises(ModelError, match="too large"):
        read(tmp_path, SMALL)


@given(st.integers(0, len(SMALL) - 1))
def test_a_cut_file_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    try:
        graph = read(tmp_path_factory.getbasetemp(), SMALL[:length])
    except ModelError:
        return
    # Only what is at the file's end may be missing without notice: flatbuffers puts nothing there that it has to read.
    np.testing.assert_array_equal(graph.constants[5], KERNEL.astype(np.float32))


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_end_in_a_graph_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(SMALL)
    for place, value in flips:
        data[place] = value
    try:
        graph = read(tmp_path_factory.getbasetemp(), bytes(data))
    except ModelError:
        return
    assert all(isinstance(one, np.ndarray) for one in graph.parameters())
