"""Pickles as stylegan2-ada-pytorch writes them: module objects with the source code of their classes.

Its `torch_utils.persistence` and `dnnlib.util` exist only while a file is being written.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

BUFFERS = ("noise_const", "resample_filter", "w_avg")
SOURCE = "import pathlib\npathlib.Path({marker!r}).write_text('executed')\nclass {name}:\n    pass\n"


class EasyDict(dict[str, Any]):
    """A dict whose values are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def reconstruct(meta: dict[str, Any]) -> None:
    raise AssertionError(f"the source of {meta['class_name']} would run here")


class Persistent(nn.Module):
    """A module that is pickled with its class's source, and holds numpy's numbers among its attributes.

    Args:
        state: its tensors by dotted name. marker: the file that the source writes when it is run.
    """

    def __init__(self, state: dict[str, Tensor], marker: Path, name: str = "Generator") -> None:
        super().__init__()
        self.source = {"module_src": SOURCE.format(marker=str(marker), name=name), "class_name": name}
        self.act_gain, self.weight_gain = np.sqrt(2), 1 / np.sqrt(np.float32(512))
        self.conv_clamp, self.resolutions = 256, [4, 8]
        self._init_args, self._init_kwargs = (), EasyDict(z_dim=512, synthesis_kwargs=EasyDict(num_fp16_res=4))
        for head in dict.fromkeys(key.partition(".")[0] for key in state):
            inside = {key.partition(".")[2]: value for key, value in state.items() if key.partition(".")[0] == head}
            if "" not in inside:
                self.add_module(head, Persistent(inside, marker, f"Part_{head}"))
            elif head in BUFFERS:
                self.register_buffer(head, inside[""])
            else:
                self.register_parameter(head, nn.Parameter(inside[""]))

    def __reduce__(self) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if key != "source"}
        return reconstruct, ({"type": "class", "version": 6, **self.source, "state": state},), None


def write_snapshot(path: Path, state: dict[str, Tensor], marker: Path, protocol: int = 4) -> Path:
    """A snapshot whose G_ema has these tensors."""
    dnnlib, torch_utils = ModuleType("dnnlib.util"), ModuleType("torch_utils.persistence")
    other = {"b4.fc.weight": next(iter(state.values())).clone()}
    with pytest.MonkeyPatch.context() as patch:
        for made, module, name in ((EasyDict, dnnlib, "EasyDict"),
                                   (reconstruct, torch_utils, "_reconstruct_persistent_obj")):
            setattr(module, name, made)
            made.__module__, made.__qualname__ = module.__name__, name
            package = module.__name__.partition(".")[0]
            patch.setitem(sys.modules, package, ModuleType(package))
            patch.setitem(sys.modules, module.__name__, module)
        snapshot = {"training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset", resolution=1024),
                    "G": Persistent(other, marker), "D": Persistent(other, marker, "Discriminator"),
                    "G_ema": Persistent(state, marker), "augment_pipe": None}
        data = pickle.dumps(snapshot, protocol)
    if protocol == 3:  # as numpy called its parts when the files were published
        data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(data)
    return path
