"""Tests how pools are built, kept and continued, on toy networks, and what their numbers mean, on the real pool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import mien
import mien.anonymizer.pool as module
from helpers.fake_networks import ToyNetworks, toy_networks
from helpers.generated_people import Generated
from mien.anonymizer.load import Loaded
from mien.anonymizer.losses import targets
from mien.anonymizer.pool import (
    Pool,
    build_pool,
    color_picture,
    export_pool,
    load_pool,
    pool_key,
)
from mien.errors import OutputError
from mien.models.bundle import Networks
from mien.models.features.base import ConvFeatures
from mien.recipe import PoolSettings

NAMES = list(Pool.__dataclass_fields__)


def settings(size: int = 10, **changes: float | str) -> PoolSettings:
    """Returns settings of a pool smaller than a recipe may ask for."""
    return PoolSettings().model_copy(update={"size": size, **changes})


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 4)
    monkeypatch.setattr(module, "BATCH", 2)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lists the sizes of the batches that are generated."""
    sizes: list[int] = []
    real = module._faces

    def faces(networks: ToyNetworks, asked: PoolSettings, z: Tensor) -> dict[str, Tensor]:
        sizes.append(len(z))
        return real(networks, asked, z)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_faces", faces)
    return sizes


def same(a: Pool, b: Pool) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in NAMES)


def build(folder: Path, **changes: float | str) -> Pool:
    return build_pool(toy_networks()[0], settings(**changes), folder, "key")


@pytest.mark.usefixtures("small_parts")
def test_a_built_pool_is_one_file_that_reads_back(tmp_path: Path, counted: list[int]) -> None:
    steps: list[tuple[int, int]] = []
    built = build_pool(toy_networks()[0], settings(), tmp_path / "new" / "folder", "key",
                       lambda done, total: steps.append((done, total)))
    loaded = load_pool(tmp_path / "new" / "folder", "key")
    assert loaded is not None and same(built, loaded)
    assert len(built) == 10 and built.codes.shape == (10, 512) and built.identities.shape == (10, 128)
    assert built.colors.shape == built.vectors.shape == (10, 9)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["key.safetensors"]
    assert counted == [2, 2, 2, 2, 2]
    assert steps == [(done, 10) for done in (2, 4, 6, 8, 10)]


def test_the_same_settings_give_the_same_pool_and_others_do_not(tmp_path: Path) -> None:
    one, two = build(tmp_path / "1"), build(tmp_path / "2")
    assert same(one, two)
    assert not torch.equal(build(tmp_path / "3", seed=1).codes, one.codes)
    for how in ("w", "whitened"):  # the toy's whitened codes are its w
        nearer = build(tmp_path / how, truncation=0.35, truncation_space=how)
        assert torch.allclose(nearer.codes, 0.5 * one.codes, atol=1e-6)


KILLED = """
import os, signal
from pathlib import Path
import mien.anonymizer.pool as module
from mien.models.bundle import Networks
from mien.recipe import PoolSettings
from helpers.fake_networks import toy_networks
module.PART, module.BATCH = 4, 2
def progress(done, total):
    if done == 6:
        os.kill(os.getpid(), signal.SIGKILL)
ten = PoolSettings().model_copy(update={{"size": 10}})
module.build_pool(toy_networks()[0], ten, Path({folder!r}), "key", progress)
"""


@pytest.mark.usefixtures("small_parts")
def test_a_killed_build_goes_on_where_it_was(tmp_path: Path, counted: list[int]) -> None:
    whole = build(tmp_path / "whole")
    paths = [str(Path(mien.__file__).parents[1]), str(Path(__file__).parents[1])]
    script = KILLED.format(folder=str(tmp_path / "killed"))
    process = subprocess.run([sys.executable, "-c", script], timeout=300, capture_output=True,
                             env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    assert load_pool(tmp_path / "killed", "key") is None
    counted.clear()
    assert same(build(tmp_path / "killed"), whole)
    assert counted == [2, 2, 2]  # the first part of two batches was there
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["key.safetensors"]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("damage", ["cut", "zeros", "empty", "foreign", "short"])
def test_a_damaged_part_is_made_anew(tmp_path: Path, counted: list[int], damage: str) -> None:
    whole = build(tmp_path / "whole")
    parts = tmp_path / "hurt" / "key.parts"
    parts.mkdir(parents=True)
    path = parts / "00000000.safetensors"
    row = module._faces(toy_networks()[0], settings(), torch.zeros(2, 512))
    save_file({"other": torch.zeros(3)} if damage == "foreign" else row, path)
    if damage in ("cut", "zeros", "empty"):
        data = path.read_bytes()
        path.write_bytes({"cut": data[: len(data) // 2], "zeros": bytes(len(data)), "empty": b""}[damage])
    counted.clear()
    assert same(build(tmp_path / "hurt"), whole)
    assert counted == [2, 2, 2, 2, 2]


@pytest.mark.parametrize("damage", ["cut", "zeros", "empty", "foreign", "folder", "none"])
def test_a_damaged_pool_is_none(tmp_path: Path, damage: str) -> None:
    whole = build(tmp_path)
    path = tmp_path / "key.safetensors"
    data = path.read_bytes()
    path.unlink()
    if damage == "foreign":
        save_file({"codes": torch.zeros(3, 512)}, path)
    elif damage == "folder":
        path.mkdir()
    elif damage != "none":
        path.write_bytes({"cut": data[:-100], "zeros": bytes(len(data)), "empty": b""}[damage])
    assert load_pool(tmp_path, "key") is None
    if damage != "folder":
        assert same(build(tmp_path), whole)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot keep the pool") as caught:
        build(tmp_path / "file" / "folder")
    assert "MIEN_CACHE" in caught.value.hint


def test_faces_that_the_detector_misses_have_no_identity(tmp_path: Path) -> None:
    networks, toy = toy_networks()
    seen = build_pool(networks, settings(), tmp_path, "seen")
    assert torch.allclose(seen.identities.norm(dim=1), torch.ones(10))
    toy.sees = False
    assert not build_pool(networks, settings(), tmp_path, "unseen").identities.any()


def test_the_feature_network_s_own_embeddings_are_kept(tmp_path: Path) -> None:
    networks, _ = toy_networks()
    pool = build(tmp_path)
    pictures = networks.preview(networks.generator.color(pool.codes[:, None].expand(-1, 16, -1)))
    assert torch.allclose(pool.embeddings, networks.features.observe(pictures)[1], atol=1e-6)


def test_the_reference_s_embeddings_are_of_the_full_picture_and_its_own_range(tmp_path: Path) -> None:
    asked: list[tuple[int, bool]] = []

    class Features(ConvFeatures):
        def embed(self, image: Tensor, unscaled: bool = False) -> Tensor:
            asked.append((image.shape[-1], unscaled))
            return image.mean(dim=(2, 3))

    class Toy(ToyNetworks):
        @property
        def features(self) -> ConvFeatures:
            return Features(self._maps)

        def render(self, wp: Tensor) -> Tensor:
            return torch.nn.functional.interpolate(self.preview(wp), scale_factor=4)

    made = build_pool(Toy(), settings(reference=True), tmp_path, "key")  # type: ignore[arg-type]
    assert asked == [(1024, True)] * 2 and made.embeddings.shape == (10, 3)


def test_pictures_may_be_channels_last(tmp_path: Path) -> None:
    class Toy(ToyNetworks):
        def preview(self, wp: Tensor, size: int = 256) -> Tensor:
            return super().preview(wp, size).contiguous(memory_format=torch.channels_last)

    made = build_pool(Toy(), settings(), tmp_path / "last", "key")  # type: ignore[arg-type]
    assert torch.allclose(made.colors, build(tmp_path / "first").colors, atol=1e-3)


def test_a_pool_as_files(tmp_path: Path) -> None:
    class Toy(ToyNetworks):
        def render(self, wp: Tensor) -> Tensor:
            return self.preview(wp)

    networks, pool = Toy(), build(tmp_path)
    export_pool(networks, pool, settings(), tmp_path / "out", pictures=3)  # type: ignore[arg-type]
    names = ["000000.jpg", "000001.jpg", "000002.jpg", "codes.safetensors", "embeddings.safetensors"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    codes = load_file(tmp_path / "out" / "codes.safetensors")
    again = networks.truncate(networks.map(codes["z"]), 0.7)
    assert torch.allclose(codes["w"], again, atol=1e-6) and torch.equal(codes["codes"], pool.codes)
    assert torch.equal(load_file(tmp_path / "out" / "embeddings.safetensors")["embeddings"], pool.embeddings)
    (tmp_path / "out" / "000001.jpg").write_bytes(b"mine")
    export_pool(networks, pool, settings(), tmp_path / "out", pictures=99)  # type: ignore[arg-type]
    assert (tmp_path / "out" / "000001.jpg").read_bytes() == b"mine"
    assert len(list((tmp_path / "out").glob("*.jpg"))) == len(pool)
    with pytest.raises(OutputError, match="something else than this pool"):
        other = build(tmp_path / "other", seed=1)
        export_pool(networks, other, settings(seed=1), tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="cannot write"):
        export_pool(networks, pool, settings(), tmp_path / "out" / "codes.safetensors")  # type: ignore[arg-type]


def test_the_key_names_everything_that_the_pool_comes_from() -> None:
    base = pool_key(PoolSettings(), "weights")
    assert pool_key(PoolSettings(), "weights") == base
    others = [pool_key(PoolSettings(seed=1), "weights"), pool_key(PoolSettings(size=64), "weights"),
              pool_key(PoolSettings(truncation=0.71), "weights"), pool_key(PoolSettings(reference=True), "weights"),
              pool_key(PoolSettings(truncation_space="w"), "weights"), pool_key(PoolSettings(), "other weights")]
    assert len({base, *others}) == 7


def test_principal_directions_are_orthonormal_and_lossless_when_all_are_kept() -> None:
    x = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    mean, basis = module._principal(x, 256)
    assert basis.shape == (40, 11)
    assert (basis.T @ basis - torch.eye(11)).abs().max() < 1e-4
    projected = (x - mean) @ basis
    assert (torch.cdist(projected, projected) - torch.cdist(x, x)).abs().max() < 1e-3
    spread = projected.var(dim=0)
    assert (spread[:-1] >= spread[1:] - 1e-5).all()


def test_the_file_holds_no_pictures(tmp_path: Path) -> None:
    """It holds nothing but the named tensors."""
    build(tmp_path)
    assert sorted(load_file(tmp_path / "key.safetensors")) == sorted(NAMES)


def test_real_pool_is_truncated_to_0_7(ready: Loaded) -> None:
    generator = ready.networks.generator
    with torch.inference_mode():
        z = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
        whole = generator.whiten(generator.map(z))
    assert torch.allclose(ready.pool.codes, 0.7 * whole, atol=1e-3)


def test_real_pool_can_be_truncated_in_w_as_the_paper_does(ready: Loaded) -> None:
    networks = ready.networks
    z = torch.randn(4, 512, generator=torch.Generator().manual_seed(3))
    codes = module._faces(networks, settings(truncation_space="w"), z)["codes"]
    with torch.inference_mode():
        whole = networks.generator.map(z) - networks.generator.w_mean
        kept = networks.generator.color(codes) - networks.generator.w_mean
    assert (kept - 0.7 * whole).abs().max() < 1e-2
    assert not torch.allclose(codes, 0.7 * networks.generator.whiten(networks.generator.map(z)), atol=0.05)


def test_real_identities_are_unit_vectors_or_nothing(ready: Loaded) -> None:
    norms = ready.pool.identities.norm(dim=1)
    assert (((norms - 1).abs() < 1e-4) | (norms == 0)).all()
    assert (norms > 0).sum() >= 60  # at this truncation faces are faces
    cosines = ready.pool.identities @ ready.pool.identities.T
    assert (cosines - torch.eye(64)).triu(1).mean() < 0.3  # and they are different people


def test_real_pool_is_used_as_it_was_built(ready: Loaded) -> None:
    """Vectors and colors that are computed now are those that were kept when the pool was built."""
    networks, pool = ready.networks, ready.pool
    with torch.inference_mode():
        image = networks.preview(networks.generator.color(pool.codes[:2, None].expand(-1, 16, -1)))
        seen = targets(networks, image, torch.ones(2, 1, 256, 256), torch.eye(2, 3).repeat(2, 1, 1))
    traits = pool.traits(seen)
    for now, kept in ((traits.vectors, pool.vectors), (traits.colors, pool.colors)):
        assert (now - kept[:2]).norm(dim=1).max() < 0.02 * kept.norm(dim=1).mean()


def test_later_faces_are_projected_as_the_first_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is for any number of faces, and after a build that was stopped; only the first ones are kept raw."""
    monkeypatch.setattr(module, "PART", 4)
    monkeypatch.setattr(module, "FIT", 8)
    few, many = build(tmp_path / "few", size=8), build(tmp_path / "many", size=20)
    for name in ("codes", "vectors", "colors", "embeddings", "identities"):
        assert torch.equal(getattr(few, name), getattr(many, name)[:8]), name
    kept: list[set[str]] = []

    def stop(done: int, total: int) -> None:
        if done == 16:
            kept.extend(set(load_file(path)) for path in sorted((tmp_path / "cut" / "key.parts").glob("0*")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_pool(toy_networks()[0], settings(size=20), tmp_path / "cut", "key", stop)
    assert ["pair" in names for names in kept] == [True, True, False] and "vectors" in kept[2]
    assert same(build(tmp_path / "cut", size=20), many)


def test_colors_of_the_real_pool_say_how_far_pictures_are_apart(ready: Loaded) -> None:
    networks, pool = ready.networks, ready.pool
    with torch.inference_mode():
        small = color_picture(networks.preview(networks.generator.color(pool.codes[:16, None].expand(-1, 16, -1))))
    exact, kept = torch.cdist(small.flatten(1), small.flatten(1)), torch.cdist(pool.colors[:16], pool.colors[:16])
    assert (exact - kept).abs().max() < 0.02 * exact.max()


def test_features_for_pairing_do_not_depend_on_the_batch(networks: Networks, generated: Generated) -> None:
    faces = generated.faces
    alone = networks.features.pairing(tuple(f[1:] for f in faces.features), faces.embedding[1:])
    assert torch.equal(networks.features.pairing(faces.features, faces.embedding)[1:], alone)
