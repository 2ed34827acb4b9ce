"""Lists the published checkpoints, with their origins and terms, and recognizes their files.

mien does not fetch them, because their pages need accounts, browsers or consent to terms. `mien models import` reads
the files after the user has downloaded them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    State = dict[str, Tensor]


@dataclass(frozen=True)
class Published:
    """Describes one network that its authors publish.

    Attributes:
        name: the name that commands and code use. role: what it is used for.
        files: the usual names of its file. where: who publishes it, and how to get it. megabytes: the file's size.
        license: short form, for tables. terms: of use, and of the training data. citation: the paper.
    """

    name: str
    role: str
    files: tuple[str, ...]
    where: str
    megabytes: int
    license: str
    terms: str
    citation: str


_FFHQ = ("Trained on FFHQ, whose photographs are under licenses that mostly allow non-commercial use; the data set is "
         "CC BY-NC-SA 4.0.")
_FALCO = "github.com/chi0tzp/FALCO: its download script fetches all its checkpoints"

_PUBLISHED = (
    Published(
        "stylegan2_ffhq1024", "generator", ("stylegan2_ffhq1024.pth", "stylegan2-ffhq-config-f.pt", "ffhq.pkl"),
        f"{_FALCO}; github.com/genforce/genforce: model zoo; github.com/NVlabs/stylegan2-ada-pytorch: ffhq.pkl", 133,
        "NVIDIA source code license: non-commercial", f"NVIDIA's weights, for research and evaluation only. {_FFHQ}",
        "Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, arXiv 1912.04958"),
    Published(
        "e4e", "inversion encoder", ("e4e_ffhq_encode.pt",),
        f"{_FALCO}; github.com/omertov/encoder4editing: pretrained models", 1201, "MIT",
        f"The code is MIT; the file also holds NVIDIA's generator, which is for non-commercial use. {_FFHQ}",
        "Tov et al., Designing an Encoder for StyleGAN Image Manipulation, SIGGRAPH 2021, arXiv 2102.02766"),
    Published(
        "arcface", "identity in the loss", ("model_ir_se50.pth",),
        f"{_FALCO}; github.com/TreB1eN/InsightFace_Pytorch", 175, "MIT",
        "Trained on MS-Celeb-1M, photographs of celebrities collected from the web; its publisher has withdrawn that "
        "set. Non-commercial research only.",
        "Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019, arXiv 1801.07698"),
    Published(
        "farl", "attribute features", ("FaRL-Base-Patch16-LAIONFace20M-ep64.pth",
                                       "FaRL-Base-Patch16-LAIONFace20M-ep16.pth"),
        f"{_FALCO}; github.com/FacePerceiver/FaRL: releases", 600, "MIT",
        "Trained on LAION-Face, faces among pictures collected from the web.",
        "Zheng et al., General Facial Representation Learning in a Visual-Linguistic Manner, CVPR 2022, "
        "arXiv 2112.03109"),
    Published(
        "clip_vitb16", "attribute features, alternative", ("ViT-B-16.pt",), "github.com/openai/CLIP: clip.load", 351,
        "MIT", "Its authors advise against use in surveillance and face recognition. Trained on pictures from the web.",
        "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021, "
        "arXiv 2103.00020"),
    Published(
        "clip_vitb32", "attribute features, alternative", ("ViT-B-32.pt",), "github.com/openai/CLIP: clip.load", 354,
        "MIT", "Its authors advise against use in surveillance and face recognition. Trained on pictures from the web.",
        "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021, "
        "arXiv 2103.00020"),
    Published(
        "dino_vitb16", "attribute features, alternative", ("dino_vitbase16_pretrain.pth",),
        "github.com/facebookresearch/dino: ViT-B/16, backbone only", 343, "Apache-2.0",
        "Trained on ImageNet, photographs collected from the web for non-commercial research.",
        "Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.14294"),
    Published(
        "s3fd", "faces' boxes, for --detector s3fd", ("s3fd-619a316812.pth",),
        f"{_FALCO}; github.com/1adrianb/face-alignment", 90, "BSD-3-Clause",
        "Trained on WIDER FACE, photographs collected from the web for research.",
        "Zhang et al., S3FD: Single Shot Scale-invariant Face Detector, ICCV 2017, arXiv 1708.05237"),
    Published(
        "fan", "faces' 68 points, for --detector s3fd", ("2DFAN4-11f355bf06.pth.tar",),
        "github.com/1adrianb/face-alignment", 96, "BSD-3-Clause",
        "Trained on 300-W-LP, made from 300-W's photographs of faces, which are for research, not for commercial use.",
        "Bulat and Tzimiropoulos, How Far Are We from Solving the 2D & 3D Face Alignment Problem?, ICCV 2017, "
        "arXiv 1703.07332"),
    Published(
        "inception", "FID, in mien evaluate", ("pt_inception-2015-12-05-6726825d.pth",),
        "github.com/mseitzer/pytorch-fid: releases", 95, "Apache-2.0",
        "Trained on ImageNet, photographs collected from the web for non-commercial research.",
        "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016, arXiv 1512.00567"),
)
PUBLISHED: dict[str, Published] = {one.name: one for one in _PUBLISHED}
_GENERATOR_SIZE, _GENERATOR_OUTPUTS = 1024, 9  # pixels; RGB outputs, one at each of 4, 8, ..., 1024 px
_LARGEST = 200_000_000  # numbers in a state dict that is renamed: a generator has 33 million, DINO 86 million


@dataclass(frozen=True)
class Recognized:
    """Describes a recognized file: the network's name, the file's format, and the converted tensors."""

    name: str
    format: str
    state: State


def recognize(content: Any) -> Recognized:
    """Finds out which published network a file's content is, and converts its tensors.

    Raises:
        ModelError: it is none of them, or tensors are missing, unknown or of other shapes; the message says which.
    """
    from mien.errors import ModelError
    from mien.models.formats.torch_file import tensors_of

    outer = {key: _bare(value) for key, value in _bare(content).items()} if isinstance(content, dict) else {}
    for test in _TESTS:
        if found := test(outer, content):
            return found
    names = list(tensors_of(content))
    raise ModelError(f"no published network has tensors like {', '.join(names[:3]) or 'none at all'}",
                     f"known: {', '.join(PUBLISHED)}; see mien models list")


def _bare(state: Any) -> Any:
    """Removes the prefix `module.` that training on several GPUs gives to all names of a state dict."""
    prefix = "module."
    if isinstance(state, dict) and state and all(isinstance(key, str) and key.startswith(prefix) for key in state):
        return {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _generator(state: State, form: str) -> Recognized:
    from mien.errors import ModelError
    from mien.models.generators.stylegan2 import expected_shapes, prepare_stylegan2

    outputs = sum(key.startswith("synthesis.output") and key.endswith("style.bias") for key in state)
    if outputs != _GENERATOR_OUTPUTS:
        raise ModelError(f"a StyleGAN2 generator ({form}) with {outputs} resolutions, not {_GENERATOR_OUTPUTS} "
                         f"({_GENERATOR_SIZE} px)")
    state = {key: value for key, value in state.items() if not key.endswith(".kernel")}
    _same_shapes(state, expected_shapes(_GENERATOR_SIZE), f"StyleGAN2 of {_GENERATOR_SIZE} px ({form})")
    try:
        prepared = prepare_stylegan2(state)
        finite = all(bool(value.isfinite().all()) for value in prepared.values())
    except RuntimeError:  # raised by the eigenvalues of the whitening
        finite = False
    if not finite:
        raise ModelError(f"looks like StyleGAN2 of {_GENERATOR_SIZE} px ({form}), but its mapping leads to infinity")
    return Recognized(f"stylegan2_ffhq{_GENERATOR_SIZE}", form, prepared)


def _genforce(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    inside = [outer[key] for key in ("generator_smooth", "generator") if isinstance(outer.get(key), dict)]
    state = next((found for found in inside if found), outer)
    if "synthesis.early_layer.const" not in state:
        return None
    return _generator(_tensors(state), "genforce")


def _rosinality(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    from mien.errors import ModelError
    from mien.models.formats.stylegan2_names import from_rosinality

    state = outer.get("g_ema")
    if not isinstance(state, dict) or "conv1.conv.weight" not in state:
        return None
    mean = _tensors(outer).get("latent_avg")
    if mean is None:
        raise ModelError("a rosinality generator without latent_avg, which truncation needs")
    return _generator(_renamed(from_rosinality, _tensors(state), "a rosinality generator", mean), "rosinality")


def _nvidia(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    from mien.models.formats.stylegan2_names import from_nvidia
    from mien.models.formats.torch_file import tensors_of

    state = _tensors(tensors_of(outer.get("G_ema")))
    if "synthesis.b4.const" not in state:
        return None
    return _generator(_renamed(from_nvidia, state, "an NVIDIA generator"), "NVIDIA pickle")


def _renamed(function: Callable[..., State], state: State, form: str, *rest: Any) -> State:
    from mien.errors import ModelError

    if sum(value.numel() for value in state.values()) > _LARGEST:
        raise ModelError(f"looks like {form}, but is far larger than that is")
    try:
        return function(state, *rest)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise ModelError(f"looks like {form}, but lacks a tensor or has one of another shape: {error}") from error


def _encoder(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    from mien.errors import ModelError
    from mien.models.generators.e4e import DIM, N_LAYERS, E4eEncoder

    state = outer.get("state_dict", outer)
    if not isinstance(state, dict) or "encoder.latlayer1.weight" not in state:
        return None
    mean = _tensors(outer).get("latent_avg")
    if mean is None or mean.shape[-1:] != (DIM,) or mean.numel() not in (DIM, DIM * N_LAYERS):
        raise ModelError("an e4e checkpoint without a latent_avg of [512], [1, 512] or [18, 512]")
    found = {key.removeprefix("encoder."): value for key, value in _tensors(state).items()
             if key.startswith("encoder.")}
    found["latent_avg"] = mean.reshape(-1, DIM).expand(N_LAYERS, DIM)
    return Recognized("e4e", "e4e", _complete(found, E4eEncoder().state_dict(), "e4e's encoder"))


def _arcface(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    if "output_layer.3.weight" not in outer or "input_layer.0.weight" not in outer:
        return None
    from mien.models.recognition.arcface import ArcFace

    return Recognized("arcface", "InsightFace_Pytorch", _complete(_tensors(outer), ArcFace().state_dict(), "ArcFace"))


def _s3fd(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    if "conv3_3_norm_mbox_conf.weight" not in outer:
        return None
    from mien.models.detection.s3fd import S3FD

    return Recognized("s3fd", "S3FD", _complete(_tensors(outer), S3FD().state_dict(), "S3FD"))


def _fan(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    if "m0.b2_plus_1.conv1.weight" not in outer:
        return None
    from mien.models.detection.fan import FAN

    return Recognized("fan", "face-alignment", _complete(_tensors(outer), FAN().state_dict(), "2D-FAN-4"))


def _inception(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    if "Mixed_7c.branch_pool.conv.weight" not in outer:
        return None
    from mien.errors import ModelError
    from mien.models.features.inception import CLASSES, Inception

    state = _tensors(outer)
    classes = len(state.get("fc.bias", ()))
    if classes != CLASSES:
        raise ModelError(f"an Inception v3 of {classes} classes, not the one of {CLASSES} that FID is defined by",
                         f"take {PUBLISHED['inception'].files[0]}")
    body = {key: value for key, value in state.items() if not key.startswith(("fc.", "AuxLogits."))}
    return Recognized("inception", "pytorch-fid", _complete(body, Inception().state_dict(), "FID's Inception v3"))


def _dino(outer: dict[str, Any], content: object) -> Recognized | None:
    del content
    if "cls_token" not in outer or "blocks.0.attn.qkv.weight" not in outer:
        return None
    from mien.models.features.vit import expected_shapes, from_dino

    state = _renamed(from_dino, _tensors(outer), "DINO")
    _same_shapes(state, expected_shapes(16, clip=False), "DINO ViT-B/16")
    return Recognized("dino_vitb16", "DINO", state)


def _clip(outer: dict[str, Any], content: object) -> Recognized | None:
    """Recognizes CLIP and FaRL, whose tensors have the same names; FaRL's are under `state_dict`."""
    from mien.errors import ModelError
    from mien.models.features.vit import expected_shapes
    from mien.models.formats.restricted_pickle import Module
    from mien.models.formats.torch_file import tensors_of

    wrapped = isinstance(outer.get("state_dict"), dict)
    inside = outer["state_dict"] if wrapped else outer
    state = _tensors(tensors_of(content) if isinstance(content, Module) else inside)
    if "visual.conv1.weight" not in state:
        return None
    patch = next(iter(state["visual.conv1.weight"].shape[3:]), 0)
    name = "farl" if wrapped else f"clip_vitb{patch}"
    if name not in PUBLISHED or (wrapped and patch != 16):
        raise ModelError(f"a CLIP image tower with patches of {patch} px: ViT-B/16 and ViT-B/32 are known")
    tower = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    _same_shapes(tower, expected_shapes(patch, clip=True), PUBLISHED[name].name)
    form = "TorchScript archive" if isinstance(content, Module) else "state dict"
    return Recognized(name, form, tower)


_TESTS = (_genforce, _rosinality, _nvidia, _encoder, _arcface, _s3fd, _fan, _inception, _dino, _clip)


def _tensors(state: dict[Any, Any]) -> State:
    """Returns the tensors of a state dict; floating-point ones become float32."""
    from torch import Tensor

    found = {key: value.detach() for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    return {key: value.float() if value.is_floating_point() else value for key, value in found.items()}


def _complete(state: State, wanted: State, name: str) -> State:
    """Checks that a state has exactly a module's tensors; adds the batch counters, which old files lack."""
    counters = {key: value for key, value in wanted.items()
                if key.endswith("num_batches_tracked") and key not in state}
    state = {**state, **counters}
    _same_shapes(state, {key: tuple(value.shape) for key, value in wanted.items()}, name)
    return state


def _same_shapes(state: State, wanted: dict[str, tuple[int, ...]], name: str) -> None:
    from mien.errors import ModelError

    for problem, keys in (("lacks", wanted.keys() - state.keys()), ("has unknown", state.keys() - wanted.keys())):
        if keys:
            raise ModelError(f"looks like {name}, but {problem} {min(keys)}"
                             + (f" and {len(keys) - 1} more tensors" if len(keys) > 1 else ""),
                             "is it another version of the network, or cut short?")
    for key, shape in wanted.items():
        if tuple(state[key].shape) != shape:
            raise ModelError(f"looks like {name}, but {key} is {list(state[key].shape)} where {list(shape)} is wanted")
        if not state[key].is_floating_point():
            if not key.endswith("num_batches_tracked"):
                raise ModelError(f"looks like {name}, but {key} holds whole numbers")
        elif not state[key].isfinite().all():
            raise ModelError(f"looks like {name}, but {key} holds numbers that are not finite")
