"""The recipe: every number that decides what a face becomes. Frozen, validated, saved whole, hashed."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mien.errors import UsageError

PRESETS = ("default", "fast", "falco", "falco-mobile", "falco-reference")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DetectSettings(_Table):
    """Faces smaller than `min_size` pixels (box side) are blurred: too little is there to rebuild.

    The `s3fd` network (with 2D-FAN's points) and the `published` alignment are the paper's.
    """

    network: Literal["yunet", "s3fd"] = "yunet"
    alignment: Literal["mirrored", "published"] = Field("mirrored", description="what goes on beyond the photo's edge")
    score: float = Field(0.6, gt=0, lt=1, description="0.5 is S3FD's own")
    min_size: int = Field(16, ge=4)


class InvertSettings(_Table):
    """Inversion by optimization in whitened codes, from the encoder's guess."""

    steps: int = Field(24, ge=0, le=2000, description="0: the encoder's guess alone")
    size: Literal[128, 256] = Field(128, description="of the pictures compared")
    shared_steps: int = Field(0, ge=0, description="first steps: one code for all layers")
    rate: float = Field(0.1, gt=0)
    offset_rate: float = Field(0.1, gt=0)
    offset_weight: float = Field(0.02, ge=0)
    feature_weight: float = Field(0.2, ge=0)
    identity_weight: float = Field(0.1, ge=0)
    outside_weight: float = Field(0.5, ge=0, le=1, description="of pixels outside the face")


class PoolSettings(_Table):
    """The generated faces to choose from."""

    size: int = Field(2000, ge=64)
    seed: int = Field(0, ge=0)
    truncation: float = Field(0.7, gt=0, le=1)
    truncation_space: Literal["w", "whitened"] = Field("whitened", description="w: as the paper does")
    reference: bool = Field(False, description="embeddings as the reference code has them: full pictures, in -1..1")


class PairSettings(_Table):
    """Of the `k` nearest any, or the one least like the person; where `unique`, none that another has.

    Near in `attributes` (features within the face, and colors), or by the `euclidean` or `cosine` distance of
    the feature network's own embeddings, as the paper pairs.
    """

    k: int = Field(10, ge=1)
    choice: Literal["unlike", "drawn"] = Field("drawn", description="drawn: any of the k, by name and seed")
    distance: Literal["attributes", "euclidean", "cosine"] = "attributes"
    color_weight: float = Field(0.5, ge=0, description="of attributes")
    unique: bool = True


class OptimizeSettings(_Table):
    """Latent code optimization in W+ (FALCO, arXiv 2303.11296); the paper's on the middle layers alone.

    The `published` method is the paper's: see `mien.anonymizer.optimize_falco`. It has no color, seam, prior and
    spread terms.
    """

    method: Literal["mien", "published"] = "mien"
    space: Literal["w+", "s"] = Field("w+", description="of the published method")
    size: Literal[128, 256] = Field(128, description="of the pictures compared; the published method's is 256")
    full_size: bool = Field(False, description="published method: look at the whole picture, not at 256 px")
    reference: bool = Field(False, description="published method: the reference code's value ranges")
    steps: int = Field(12, ge=1, le=2000)
    rate: float = Field(0.1, gt=0)
    layers: tuple[int, ...] = Field(tuple(range(18)), description="of W+, in rising order, as far as there are so many")
    margin: float = Field(0.0, ge=-1, le=1, description="cosine to the original that is low enough")
    identity_weight: float = Field(2.0, ge=0)
    target_weight: float = Field(5.0, ge=0, description="of the pool face; per-person at least identity_weight")
    attribute_weight: float = Field(1.0, ge=0)
    color_weight: float = Field(2.0, ge=0)
    seam_weight: float = Field(1.0, ge=0)
    prior_weight: float = Field(0.08, ge=0)
    spread_weight: float = Field(0.05, ge=0)
    share: float = Field(0.7, ge=0, le=1, description="of the inversion in the codes begun with, the pool face's rest")
    attribute_goal: float = Field(0.0, ge=0, description="attribute distance near enough to stop early")

    @field_validator("layers")
    @classmethod
    def _ordered(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if not layers or layers != tuple(sorted(set(layers))) or layers[0] < 0 or layers[-1] > 17:
            raise ValueError("layers are numbers from 0 to 17, each once, in rising order")
        return layers

    def changed(self, n_layers: int) -> tuple[int, ...]:
        """The layers that a generator of so many has.

        Raises:
            UsageError: it has none of them.
        """
        layers = tuple(layer for layer in self.layers if layer < n_layers)
        if not layers:
            raise UsageError(f"the generator has no layer {self.layers[0]}",
                             f"optimize.layers are numbers from 0 to {n_layers - 1}")
        return layers

    @model_validator(mode="after")
    def _published_at_256(self) -> OptimizeSettings:
        if self.method == "published" and self.size != 256:
            raise ValueError("the published method looks at 256 px (full_size: at all)")
        return self


class VerifySettings(_Table):
    """The judge's distance below which two faces are one person, and how often to try again."""

    threshold: float = Field(0.6, gt=0)
    reserve: float = Field(default=0.03, ge=0, description="a blended face must pass by this much: encoding moves it")
    attempts: int = Field(4, ge=1, le=10)


class Recipe(_Table):
    """All settings that decide the result: equal recipes, inputs and weights give equal pictures."""

    name: str = "default"
    seed: int = Field(0, ge=0)
    models: Literal["mobile", "falco"] = "mobile"
    features: Literal["auto", "farl", "clip_vitb16", "clip_vitb32", "dino_vitb16", "arcface"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of what the loops compute; auto: bfloat16 where the machine is faster in it")
    batch: int = Field(4, ge=1, le=256)
    identity: Literal["per-photo", "per-person"] = "per-photo"
    on_failure: Literal["blur", "drop", "error"] = "blur"
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
        """How to invert for a generator of so many layers, or None where nothing of it is asked for.

        Where all layers change it is only a place to begin, and the encoder's guess is enough.
        """
        if len(self.optimize.changed(n_layers)) < n_layers:
            return self.invert
        begins = self.optimize.method == "mien" and self.optimize.share > 0
        return self.invert.model_copy(update={"steps": 0}) if begins else None

    @classmethod
    def load(cls, name: str) -> Recipe:
        """A preset by name ("default", "fast") or a TOML file by path.

        Raises:
            UsageError: there is no such recipe, or it does not validate; the message names the field.
        """
        try:
            if name in PRESETS:
                text = resources.files("mien").joinpath("presets", f"{name}.toml").read_text("utf-8")
            else:
                text = Path(name).read_text("utf-8")
            return cls(**tomllib.loads(text))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"there is no recipe {name!r}",
                             f"presets: {', '.join(PRESETS)}, or a TOML file") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{name} is not TOML: {error}") from error
        except ValidationError as error:
            raise UsageError(f"recipe {name}: {_first(error)}") from error

    def with_settings(self, settings: Sequence[str]) -> Recipe:
        """A copy with fields replaced as the command line says: "optimize.layers=[3, 4]", "pair.distance=cosine".

        Raises:
            UsageError: there is no such field, or a value does not validate.
        """
        changes: dict[str, Any] = {}
        for setting in settings:
            key, sign, text = setting.partition("=")
            if not sign:
                raise UsageError(f"--set {setting}: expected KEY=VALUE", "for instance: --set pair.distance=cosine")
            try:
                changes[key.strip()] = tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:  # a word without quotes
                changes[key.strip()] = text.strip()
        return self.with_changes(changes)

    def settled(self, device: str = "auto") -> Recipe:
        """With `auto` replaced by what is fastest on a device: a run's record says what was computed.

        Raises:
            UsageError: there is no such device.
        """
        if self.precision != "auto":
            return self
        from mien.util.devices import open_device
        from mien.util.precision import fastest

        return self.with_changes({"precision": fastest(open_device(device))})

    def with_changes(self, changes: dict[str, Any]) -> Recipe:
        """A copy with dotted fields replaced, e.g. {"optimize.margin": 0.1}; None values are left out.

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
                        raise UsageError(f"a recipe has no table {part!r}: {key}")
                    table = table[part]
                table[last] = value
        try:
            return Recipe(**data)
        except ValidationError as error:
            raise UsageError(_first(error)) from error


def _first(error: ValidationError) -> str:
    details = error.errors()[0]
    return f"{'.'.join(str(part) for part in details['loc'])}: {details['msg']}"
