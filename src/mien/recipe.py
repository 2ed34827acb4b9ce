"""Defines the recipe, all settings that decide what a face becomes: immutable, validated, saved whole, and hashed."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mien.errors import UsageError

PRESETS = ("default", "fast", "falco", "falco-mobile", "falco-reference")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DetectSettings(_Table):
    """Says how faces are found and cut out. The network `s3fd` and the alignment `published` are the paper's."""

    network: Literal["yunet", "s3fd"] = Field("yunet", description="the face detector; s3fd comes with 2D-FAN's points")
    alignment: Literal["mirrored", "published"] = Field(
        "mirrored", description="how a crop goes on beyond the photo's edge; published: as in FFHQ's script")
    score: float = Field(0.6, gt=0, lt=1, description="detections below this score are dropped; S3FD's own is 0.5")
    min_size: int = Field(16, ge=4, description="faces with a smaller box, pixels, show too little and are blurred")


class InvertSettings(_Table):
    """Says how faces are inverted: by optimizing whitened codes, starting from the encoder's guess."""

    steps: int = Field(24, ge=0, le=2000, description="number of steps; 0: the encoder's guess is the result")
    size: Literal[128, 256] = Field(128, description="side of the previews that are compared, pixels")
    shared_steps: int = Field(0, ge=0, description="number of first steps that move one code for all layers")
    rate: float = Field(0.1, gt=0, description="learning rate of the code that all layers share")
    offset_rate: float = Field(0.1, gt=0, description="learning rate of each layer's offset from the shared code")
    offset_weight: float = Field(0.02, ge=0, description="weight of the offsets' mean square in the loss")
    feature_weight: float = Field(0.2, ge=0, description="weight of the feature distance in the loss")
    identity_weight: float = Field(0.1, ge=0, description="weight of the identity distance, 1 - cosine, in the loss")
    outside_weight: float = Field(0.5, ge=0, le=1, description="weight of pixels outside the face; 1 within it")


class PoolSettings(_Table):
    """Says which generated faces are in the pool, with which real faces are paired."""

    size: int = Field(2000, ge=64, description="number of faces")
    seed: int = Field(0, ge=0, description="seed of the faces")
    truncation: float = Field(0.7, gt=0, le=1, description="factor on the codes' deviation from the mean face")
    truncation_space: Literal["w", "whitened"] = Field(
        "whitened", description="space of the truncated codes; w is the paper's")
    reference: bool = Field(
        False, description="compute embeddings as the reference code does: of full-size pictures, in -1..1")


class PairSettings(_Table):
    """Says how a real face is paired with one of the `k` nearest pool faces."""

    k: int = Field(10, ge=1, description="number of nearest pool faces to choose from")
    choice: Literal["unlike", "drawn"] = Field(
        "drawn", description="drawn: a random one, by name and seed; unlike: the one least similar in identity")
    distance: Literal["attributes", "euclidean", "cosine"] = Field(
        "attributes", description="attributes: of features within the face, and of colors; euclidean, cosine: of the "
                                  "feature network's own embeddings, as in the paper")
    color_weight: float = Field(0.5, ge=0, description="weight of colors in the distance of attributes")
    unique: bool = Field(True, description="choose no pool face twice, as long as there are others")


class OptimizeSettings(_Table):
    """Says how latent codes are optimized in W+ (FALCO, arXiv 2303.11296); the paper moves the middle layers only.

    The method `published` is the paper's, see `mien.anonymizer.optimize_falco`. It has no target, color, seam, prior
    and spread terms.
    """

    method: Literal["mien", "published"] = Field("mien", description="losses and schedule; published: the paper's")
    space: Literal["w+", "s"] = Field("w+", description="published method: the latent space")
    size: Literal[128, 256] = Field(
        128, description="side of the previews that are compared, pixels; the published method's is 256")
    full_size: bool = Field(False, description="published method: compare full-size pictures, not previews of 256 px")
    reference: bool = Field(False, description="published method: use the reference code's value ranges")
    steps: int = Field(12, ge=1, le=2000, description="largest number of steps a face")
    rate: float = Field(0.1, gt=0, description="learning rate")
    layers: tuple[int, ...] = Field(
        tuple(range(18)), description="layers of W+ that are optimized, rising; those the generator lacks do not count")
    margin: float = Field(0.0, ge=-1, le=1, description="cosine to the original that is low enough")
    identity_weight: float = Field(2.0, ge=0, description="weight of the cosine to the original above the margin")
    target_weight: float = Field(5.0, ge=0, description="weight of the loss term that pulls the identity to the pool "
                                                        "face; per-person at least identity_weight")
    attribute_weight: float = Field(1.0, ge=0, description="weight of the feature distance to the original")
    color_weight: float = Field(2.0, ge=0, description="weight of the color difference within the face")
    seam_weight: float = Field(1.0, ge=0, description="weight of the color difference around the face's rim")
    prior_weight: float = Field(0.08, ge=0, description="weight of the term against unlikely codes: far from the mean")
    spread_weight: float = Field(0.05, ge=0, description="weight of the term against differences between layers")
    share: float = Field(
        0.7, ge=0, le=1, description="initial codes = share * inversion + (1 - share) * pool face")
    attribute_goal: float = Field(
        0.0, ge=0, description="feature distance at which a face stops early, if its cosine is low enough")

    @field_validator("layers")
    @classmethod
    def _ordered(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if not layers or layers != tuple(sorted(set(layers))) or layers[0] < 0 or layers[-1] > 17:
            raise ValueError("layers are numbers from 0 to 17, each once, in rising order")
        return layers

    def changed(self, n_layers: int) -> tuple[int, ...]:
        """Returns the layers to optimize that a generator of `n_layers` layers has.

        Raises:
            UsageError: it has none of them.
        """
        layers = tuple(layer for layer in self.layers if layer < n_layers)
        if not layers:
            raise UsageError(f"the generator has no layer {self.layers[0]}",
                             f"give optimize.layers from 0 to {n_layers - 1}")
        return layers

    @model_validator(mode="after")
    def _published_at_256(self) -> OptimizeSettings:
        if self.method == "published" and self.size != 256:
            raise ValueError("the published method compares previews of size 256 (or whole pictures: full_size)")
        return self


class VerifySettings(_Table):
    """Says when the judge takes a new face for another person, and how often a face is tried."""

    threshold: float = Field(0.6, gt=0, description="the judge's distance below which two faces are one person")
    reserve: float = Field(default=0.03, ge=0, description="distance beyond the threshold that a blended face needs, "
                                                           "since encoding the photo changes it a little")
    attempts: int = Field(4, ge=1, le=10, description="number of attempts, each harder, before a face is concealed")


class Recipe(_Table):
    """Holds all settings that decide the result: equal recipes, inputs and weights give equal pictures."""

    name: str = Field("default", description="name in reports")
    seed: int | None = Field(None, ge=0, description="number that all random choices but the pool's come from, to be "
                                                     "kept secret; without one each run has a secret of its own")
    models: Literal["mobile", "falco"] = Field("mobile", description="set of networks; falco is the paper's")
    features: Literal["auto", "farl", "clip_vitb16", "clip_vitb32", "dino_vitb16", "arcface"] = Field(
        "auto", description="network that compares attributes; auto: the set's own")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="precision of the loops; auto: bfloat16 where the machine computes it faster")
    batch: int = Field(4, ge=1, le=256, description="number of faces that are optimized together")
    identity: Literal["per-photo", "per-person"] = Field(
        "per-photo", description="per-person: a person gets the same new face in all photos")
    on_failure: Literal["blur", "drop", "error"] = Field(
        "blur", description="when a face cannot be anonymized: blur it, drop its photo, or stop with an error")
    detect: DetectSettings = DetectSettings()
    invert: InvertSettings = InvertSettings()
    pool: PoolSettings = PoolSettings()
    pair: PairSettings = PairSettings()
    optimize: OptimizeSettings = OptimizeSettings()
    verify: VerifySettings = VerifySettings()

    @property
    def hash(self) -> str:
        """SHA-256 of the whole recipe, first 16 hex digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    def inversion(self, n_layers: int) -> InvertSettings | None:
        """Returns the inversion's settings for a generator of `n_layers` layers, or None where it is not needed.

        Where all layers are optimized, the inversion only is a part of the initial codes, and the encoder's guess is
        enough for that.
        """
        if len(self.optimize.changed(n_layers)) < n_layers:
            return self.invert
        is_start = self.optimize.method == "mien" and self.optimize.share > 0
        return self.invert.model_copy(update={"steps": 0}) if is_start else None

    @classmethod
    def load(cls, name: str) -> Recipe:
        """Loads a preset by name ("default", "fast", ...) or a TOML file by path.

        Raises:
            UsageError: there is no such recipe, or it does not validate; the message names the field.
        """
        try:
            if name in PRESETS:
                text = resources.files("mien").joinpath("presets", f"{name}.toml").read_text("utf-8")
            else:
                text = Path(name).read_text("utf-8")
            return cls(**tomllib.loads(text))
        except UnicodeDecodeError as error:
            raise UsageError(f"{name} is not TOML: it is no text in UTF-8", "save the file as UTF-8") from error
        except OSError as error:
            raise UsageError(f"there is no recipe {name!r}",
                             f"give a preset ({', '.join(PRESETS)}) or the path of a TOML file") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{name} is not TOML: {error}",
                             "write fields as KEY = VALUE, under their table, as in [optimize]") from error
        except ValidationError as error:
            message, hint = _explain(error)
            raise UsageError(f"recipe {name}: {message}", hint) from error

    def with_settings(self, settings: Sequence[str]) -> Recipe:
        """Returns a copy with fields replaced as on the command line: "optimize.layers=[3, 4]", "pair.distance=cosine".

        Raises:
            UsageError: there is no such field, or a value does not validate.
        """
        changes: dict[str, Any] = {}
        for setting in settings:
            key, sign, text = setting.partition("=")
            if not sign:
                raise UsageError(f"--set {setting}: expected KEY=VALUE",
                                 "give a field and its value, as in --set pair.distance=cosine")
            try:
                changes[key.strip()] = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:  # a word without quotes
                changes[key.strip()] = text.strip()
        return self.with_changes(changes)

    def settled(self, device: str = "auto") -> Recipe:
        """Returns a copy with the precision `auto` replaced by the fastest on a device, so that records name it.

        Raises:
            UsageError: there is no such device.
        """
        if self.precision != "auto":
            return self
        from mien.util.devices import open_device
        from mien.util.precision import fastest

        return self.with_changes({"precision": fastest(open_device(device))})

    def with_changes(self, changes: dict[str, Any]) -> Recipe:
        """Returns a copy with dotted fields replaced, e.g. {"optimize.margin": 0.1}; None values are left out.

        Raises:
            UsageError: there is no such table, or a value does not validate.
        """
        data = self.model_dump()
        for key, value in changes.items():
            if value is not None:
                *tables, last = key.split(".")
                table = data
                for part in tables:
                    if not isinstance(table.get(part), dict):
                        raise UsageError(f"a recipe has no table {part!r}: {key}", _field_hint(key))
                    table = table[part]
                table[last] = value
        try:
            return Recipe(**data)
        except ValidationError as error:
            raise UsageError(*_explain(error)) from error


def _explain(error: ValidationError) -> tuple[str, str]:
    """Says what is wrong with the first wrong field, and gives a hint."""
    details = error.errors()[0]
    name = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return f"unknown recipe field {name or repr(name)}", _field_hint(name)
    return f"{name}: {details['msg']}", f"give another value for {name}"


def _field_hint(name: str) -> str:
    """Names the field that an unknown one is most like, if there is one."""
    near = get_close_matches(name, _field_names(Recipe), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _field_names(table: type[BaseModel], prefix: str = "") -> list[str]:
    """Lists all fields of a recipe table and of the tables in it, with dots."""
    names = []
    for name, field in table.model_fields.items():
        names.append(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _field_names(field.annotation, f"{prefix}{name}.")
    return names
