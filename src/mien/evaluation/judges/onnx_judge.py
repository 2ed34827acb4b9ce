"""Judges with a user's own recognizer: an ONNX file that takes faces of 112 px, as ArcFace's and AdaFace's do.

onnxruntime computes it; it comes with the extra `onnx`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mien.errors import UsageError
from mien.images.formats import printable

SUFFIX = ".onnx"
SIZE = 112  # px, of the input, which is aligned to the ArcFace template
TYPES: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
ORDERS = {"NCHW": (1, 3, SIZE, SIZE), "NHWC": (1, SIZE, SIZE, 3)}


@dataclass(frozen=True)
class OnnxInput:
    """Says what a recognizer's input is: (x - mean) / scale of colors x in 0..255.

    Attributes:
        channels: their order, `rgb` or `bgr`.

    Raises:
        UsageError: there is no such order, or a number cannot be.
    """

    channels: str = "rgb"
    mean: float = 127.5
    scale: float = 127.5

    def __post_init__(self) -> None:
        if self.channels not in ("rgb", "bgr"):
            raise UsageError(f"a judge's channels cannot be {self.channels!r}", "give rgb or bgr (--judge-channels)")
        if not np.isfinite(self.mean) or not 0 < self.scale < float("inf"):
            raise UsageError(f"a judge's colors cannot be (x - {self.mean}) / {self.scale}",
                             "give finite numbers, and a scale above 0 (--judge-mean, --judge-scale)")

    def of(self, judge: str) -> str:
        """Adds itself to a judge's name, as in "FILE.onnx?channels=rgb&mean=127.5&scale=127.5"; other names stay."""
        if not is_onnx(judge) or "?" in judge:
            return judge
        return f"{judge}?{urlencode({'channels': self.channels, 'mean': self.mean, 'scale': self.scale})}"


def is_onnx(judge: str) -> bool:
    """Tells whether a judge's name is a path of an ONNX file, with or without its `OnnxInput`."""
    return judge.partition("?")[0].lower().endswith(SUFFIX)


def split_name(judge: str) -> tuple[Path, OnnxInput]:
    """Gives the file and the input that a name tells, see `OnnxInput.of`.

    Raises:
        UsageError: there is no such file, or what follows it is no input.
    """
    file, _, options = judge.partition("?")
    if not Path(file).is_file():
        raise UsageError(f"there is no judge {file}", "give the path of an ONNX file that exists")
    try:
        told: dict[str, Any] = dict(parse_qsl(options, strict_parsing=bool(options)))
        return Path(file), OnnxInput(**told | {name: float(told[name]) for name in ("mean", "scale") if name in told})
    except (ValueError, TypeError) as error:
        raise UsageError(f"the judge {printable(judge)} cannot be read: {error}",
                         "write it as FILE.onnx?channels=rgb&mean=127.5&scale=127.5, or as FILE.onnx") from error


class OnnxRecognizer:
    """Turns aligned faces into unit vectors with a user's ONNX file.

    Raises:
        UsageError: onnxruntime is missing, or the file is not ONNX, takes something else than one face of 112 px, or
            does not give one vector a face; the message names the file.
    """

    def __init__(self, path: Path, given: OnnxInput) -> None:
        self._path, self._given = path, given
        self._session = _open(path)
        self._input, self._order, self._type = _input_of(path, self._session)
        self.identify(torch.zeros(1, 3, SIZE, SIZE))  # an unfit output is refused before photographs are read

    def identify(self, chip: Tensor) -> Tensor:
        """Turns a face [1, 3, 112, 112], RGB in -1..1, aligned to the ArcFace template, into a unit vector [1, D]."""
        colors = (chip + 1) * 127.5
        x = ((colors.flip(1) if self._given.channels == "bgr" else colors) - self._given.mean) / self._given.scale
        if self._order == "NHWC":
            x = x.permute(0, 2, 3, 1)
        try:
            vector = np.asarray(self._session.run(None, {self._input: x.numpy().astype(self._type)})[0], np.float32)
        except Exception as error:  # onnxruntime's errors have no common base
            raise _refused(self._path, f"cannot be computed: {str(error).splitlines()[0]}") from error
        if vector.ndim < 2 or len(vector) != 1 or vector.shape[1] < 2 or vector.size != vector.shape[1]:
            raise _refused(self._path, f"gives {list(vector.shape)} for one face in place of one vector [1, D]")
        if not np.isfinite(vector).all():
            raise _refused(self._path, "gives numbers that are not finite for a face")
        return F.normalize(torch.from_numpy(vector).reshape(1, -1), dim=1)


def _open(path: Path) -> Any:
    """Opens an onnxruntime session on the processor, with as many threads as torch has."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"the judge {path} needs onnxruntime", "run: pip install mien[onnx]") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors, which are raised as well
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise _refused(path, f"is not a usable ONNX file: {str(error).splitlines()[0]}") from error


def _input_of(path: Path, session: Any) -> tuple[str, str, type[np.floating[Any]]]:
    """Gives the name, the order of the axes ("NCHW" or "NHWC") and the type of the only input."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise _refused(path, f"has {len(inputs)} inputs in place of one")
    one = inputs[0]
    if one.type not in TYPES:
        raise _refused(path, f"takes {one.type} in place of floating-point numbers")
    for order, wanted in ORDERS.items():
        # An axis of any length has a name or nothing in place of a number.
        if len(one.shape) == 4 and all(size == want or not isinstance(size, int)
                                       for size, want in zip(one.shape, wanted, strict=True)):
            return one.name, order, TYPES[one.type]
    raise _refused(path, f"takes {one.shape} in place of one face [1, 3, {SIZE}, {SIZE}] or [1, {SIZE}, {SIZE}, 3]")


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(f"the judge {path} {why}", "give a face recognizer that takes one aligned face of 112 px, as "
                      "ArcFace and AdaFace do, or write a judge in Python (module:function)")
