from __future__ import annotations

from pathlib import Path

import pytest
import torch
from convert_judge import convert
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mien.errors import ModelError
from mien.models.recognition.mobile_facenet import MobileFaceNet


def written(network: MobileFaceNet, path: Path, leave_out: str = "") -> Path:
    """An ONNX file of the network's layers, as PyTorch exports them; the linear layer is a convolution there."""
    nodes, constants = [], []
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.PReLU | nn.Linear) or name == leave_out:
            continue
        weight = layer.weight[:, None, None] if layer.weight.ndim < 4 else layer.weight
        if isinstance(layer, nn.Linear):
            weight = layer.weight[:, :, None, None]
        own = [f"{name}.w", *([f"{name}.b"] if not isinstance(layer, nn.PReLU) else [])]
        constants += [numpy_helper.from_array(one.detach().numpy(), key)
                      for key, one in zip(own, (weight, getattr(layer, "bias", None)), strict=False)]
        nodes.append(helper.make_node("PRelu" if isinstance(layer, nn.PReLU) else "Conv", ["x", *own], ["x"]))
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, None)] for name in ("x", "y")]
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "test", *ends, constants)).SerializeToString())
    return path


def filled(width: int) -> MobileFaceNet:
    network = MobileFaceNet(width)
    for number, one in enumerate(network.parameters()):
        nn.init.normal_(one, generator=torch.Generator().manual_seed(number))
    return network


def test_every_layer_gets_its_own_weights(tmp_path: Path) -> None:
    network = filled(32)
    found = convert(written(network, tmp_path / "a.onnx"), MobileFaceNet(32))
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[name], one) for name, one in network.state_dict().items())


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a\.onnx does not hold"):
        convert(written(filled(32), tmp_path / "a.onnx"), MobileFaceNet(16))
    for name in ("top.act", "embed"):
        with pytest.raises(ModelError, match=r"b\.onnx does not hold"):
            convert(written(filled(32), tmp_path / "b.onnx", leave_out=name), MobileFaceNet(32))
