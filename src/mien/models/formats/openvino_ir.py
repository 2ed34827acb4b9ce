"""Reads OpenVINO's intermediate representation (XML graph and raw little-endian constants) without OpenVINO."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.models.hints import FETCH

ELEMENT_TYPES = {"f32": "<f4", "i64": "<i8", "i32": "<i4"}


@dataclass
class Node:
    """One operation of the graph with its float constants, in the order of its inputs."""

    kind: str
    name: str
    attributes: dict[str, str]
    constants: list[npt.NDArray[np.float32]] = field(default_factory=list)


def _constant(layer: ElementTree.Element, blob: bytes) -> npt.NDArray[np.float32]:
    data = layer.find("data")
    if data is None:
        raise ValueError(f"constant {layer.get('name')} has no data")
    offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
    if offset < 0 or size < 0 or offset + size > len(blob):
        raise ValueError(f"constant {layer.get('name')} is outside the weights file")
    shape = [int(n) for n in data.attrib.get("shape", "").split(",") if n.strip()]
    values = np.frombuffer(blob, ELEMENT_TYPES[data.attrib["element_type"]], offset=offset,
                           count=size // np.dtype(ELEMENT_TYPES[data.attrib["element_type"]]).itemsize)
    return values.reshape(shape).astype(np.float32)


def _order(result: str, inputs: dict[str, list[str]]) -> Iterator[str]:
    """Yields the nodes in order of execution, depth first, without recursion: a hostile graph may be deep or cyclic."""
    seen: set[str] = set()
    stack: list[tuple[str, bool]] = [(result, False)]
    while stack:
        node, done = stack.pop()
        if done:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((source, False) for source in reversed(inputs.get(node, [])))


def read_graph(xml: Path, weights: Path) -> list[Node]:
    """Reads the graph's operations in order of execution, each with its float constants.

    Args:
        xml: the file of the graph. weights: the file of its constants.

    Raises:
        ModelError: either file is missing, truncated or not such a graph.
    """
    try:
        root = ElementTree.parse(xml).getroot()
        blob = weights.read_bytes()
        layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
        inputs: dict[str, list[tuple[int, str]]] = {}
        for edge in root.iterfind("edges/edge"):
            inputs.setdefault(edge.attrib["to-layer"], []).append(
                (int(edge.attrib["to-port"]), edge.attrib["from-layer"]))
        sources = {to: [source for _, source in sorted(ports)] for to, ports in inputs.items()}
        result = next(i for i, layer in layers.items() if layer.get("type") == "Result")
        return [_node(layers, i, sources, blob) for i in _order(result, sources)
                if layers[i].get("type") not in ("Const", "Result", "Parameter")]
    except (OSError, KeyError, ValueError, StopIteration, ElementTree.ParseError) as error:
        raise ModelError(f"{xml.name} is not a readable OpenVINO graph: {error}", FETCH) from error


def _node(layers: dict[str, ElementTree.Element], i: str, sources: dict[str, list[str]], blob: bytes) -> Node:
    layer = layers[i]
    data = layer.find("data")
    node = Node(layer.get("type", ""), layer.get("name", ""), dict(data.attrib) if data is not None else {})
    for source in sources.get(i, []):
        constant = layers[source]
        found = constant.find("data")
        if constant.get("type") == "Const" and found is not None and found.get("element_type") == "f32":
            node.constants.append(_constant(constant, blob))
    return node
