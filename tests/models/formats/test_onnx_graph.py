from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mien.errors import ModelError
from mien.models.formats.onnx_graph import dequantize, read_onnx


def save(path: Path, nodes: list[Any], constants: dict[str, np.ndarray]) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("shape", "scale", "axis", "block_size"),
    [
        ((4, 6), (), 1, 0),
        ((4, 6), (6,), 1, 0),
        ((4, 6), (4,), -2, 0),
        ((4, 6), (4, 2), 1, 3),
        ((5, 6), (3, 6), 0, 2),
    ],
)
def test_dequantizing_equals_onnx(
    shape: tuple[int, ...], scale: tuple[int, ...], axis: int, block_size: int
) -> None:
    random = np.random.RandomState(0)
    values = random.randint(-128, 128, shape).astype(np.int8)
    scales = random.rand(*scale).astype(np.float32) if scale else np.array(0.3, np.float32)
    zeros = random.randint(-128, 128, scale).astype(np.int8)
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], axis=axis, block_size=block_size)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(scales, "s"), numpy_helper.from_array(zeros, "z")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    whole_blocks = block_size == 0 or shape[axis] % block_size == 0
    if whole_blocks:  # the reference evaluator knows no shorter last block
        expected = ReferenceEvaluator(model).run(None, {"x": values})[0]
    else:
        spread = np.arange(shape[axis]) // block_size
        expected = (values.astype(np.float32) - zeros[spread]) * scales[spread]
    np.testing.assert_array_equal(dequantize(values, scales, zeros, axis, block_size), expected)


def test_int32_bias_is_not_rounded_before_the_zero_point_is_taken_off() -> None:
    values = np.array([2**31 - 1, -(2**31)], np.int32)
    result = dequantize(values, np.array(1.0, np.float32), np.array(2**31 - 5, np.int32))
    assert result[0] == 4.0


@pytest.mark.parametrize(
    ("shape", "scale", "axis", "block_size"),
    [
        ((4, 6), (5,), 1, 0),
        ((4, 6), (4, 2), 1, 4 << 40),
        ((4, 6), (4, 3), 1, 3),
        ((4, 6), (6,), 7, 0),
        ((4,), (2,), 0, -2),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    shape: tuple[int, ...], scale: tuple[int, ...], axis: int, block_size: int
) -> None:
    with pytest.raises(ValueError):
        dequantize(np.zeros(shape, np.int8), np.ones(scale, np.float32), None, axis, block_size)


def test_constants_are_folded_and_the_rest_keeps_its_order(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], axis=0),
        helper.make_node("Reshape", ["d", "shape"], ["w"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32([7.0]))),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["y"], pads=[1, 1, 1, 1], auto_pad="NOTSET"),
    ]
    constants = {
        "q": np.arange(6, dtype=np.int8).reshape(2, 3),
        "s": np.float32([1, 10]),
        "shape": np.int64([0, -1, 1, 1]),
    }
    graph = read_onnx(save(tmp_path / "a.onnx", nodes, constants))
    assert list(graph.constants) == ["q", "s", "shape", "d", "w", "c"]
    np.testing.assert_array_equal(graph.constants["w"][:, :, 0, 0], [[0, 1, 2], [30, 40, 50]])
    assert [node.op for node in graph.nodes] == ["Relu", "Conv"]
    assert graph.nodes[1].inputs == ("r", "w")
    assert graph.nodes[1].attributes == {"pads": [1, 1, 1, 1], "auto_pad": "NOTSET"}
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))


def small(path: Path) -> Path:
    constants = {"q": np.arange(64, dtype=np.int8), "s": np.float32([2.0])}
    return save(path, [helper.make_node("DequantizeLinear", ["q", "s"], ["y"])], constants)


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx cannot be read"):
        read_onnx(tmp_path / "absent.onnx")


def test_every_truncation_is_an_error_or_a_shorter_graph_never_a_crash(tmp_path: Path) -> None:
    data = small(tmp_path / "whole.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    refused = 0
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        try:
            read_onnx(cut)
        except ModelError:
            refused += 1
    assert refused > 0.8 * len(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_never_anything_but_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / "noise.onnx"
    path.write_bytes(data)
    try:
        read_onnx(path)
    except ModelError as error:
        assert "noise.onnx" in error.message


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_byte_is_never_anything_but_a_model_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = small(tmp_path_factory.mktemp("flip") / "flip.onnx")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        read_onnx(path)
    except ModelError as error:
        assert "flip.onnx" in error.message


def test_a_tensor_in_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    model = onnx.load(small(tmp_path / "a.onnx"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="another file"):
        read_onnx(tmp_path / "b.onnx")


def test_a_tensor_larger_than_its_data_is_refused(tmp_path: Path) -> None:
    model = onnx.load(small(tmp_path / "a.onnx"))
    model.graph.initializer[0].dims[0] = 1 << 50
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"b\.onnx"):
        read_onnx(tmp_path / "b.onnx")
