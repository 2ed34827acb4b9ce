"""The commands on codes: invert, pair, optimize, render. Each takes a folder of faces, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from mien.anonymizer.invert import invert
from mien.anonymizer.load import Loaded, pool_name
from mien.anonymizer.losses import Faces, faces_of
from mien.anonymizer.pairing import AvailableFaces, embedding_distances, pair
from mien.anonymizer.pipeline import optimize_faces
from mien.anonymizer.render import render, render_styles
from mien.anonymizer.seeds import seed_of
from mien.errors import UsageError
from mien.images.encode import write_bytes
from mien.models.bundle import Networks
from mien.models.generators.stylegan2 import StyleGAN2
from mien.models.hub.cache import sha256_of
from mien.recipe import Recipe
from mien.steps.codes_file import read_codes, read_styles, write_codes
from mien.steps.context import StepContext, check_out, check_png
from mien.steps.embeddings import read_embeddings
from mien.steps.face_folder import (
    CROP,
    INVERSION,
    INVERSION_LOOK,
    PAIR_LOOK,
    PAIRS,
    RESULT,
    RESULT_PICTURE,
    FaceFolder,
    Pairing,
    Record,
    listed,
    write_picture,
)
from mien.types import Pixels
from mien.util.image_tensors import to_pixels


def invert_tray(folder: Path, kit: StepContext, again: bool) -> None:
    """Find the codes of every crop.

    Raises:
        UsageError: there are no crops, or a damaged one.
    """
    tray = FaceFolder(folder)
    names = tray.names()
    tray.missing(names, CROP, "crop", "align PHOTO")
    todo = _todo(names, lambda name: tray.has(name, INVERSION), again)
    for batch in _batches(kit, names, todo, "invert"):
        ready = kit.ready
        faces, records = _load(ready.networks, tray, batch)
        found = invert(ready.networks, faces, kit.recipe.invert)
        for name, record, codes, error in zip(batch, records, found.codes, found.error, strict=True):
            write_picture(tray.path(name, INVERSION_LOOK), _look(ready.networks, codes))
            known = float(error) if error.isfinite() else None  # without steps nothing was measured
            tray.keep(name, record.model_copy(update={"inversion_error": known}))
            write_codes(tray.path(name, INVERSION), codes, ready.networks.generator)
    _conclude(kit, tray, "inversions", names, todo, INVERSION, (CROP,))


def pair_tray(folder: Path, kit: StepContext, again: bool, by: tuple[Path, Path] | None = None) -> None:
    """Choose a pool face for every crop; write the list of all pairs.

    Args:
        by: files of embeddings to pair by, of the faces and of the pool.

    Raises:
        UsageError: there are no crops, a damaged one, embeddings that do not fit, or the recipe wants one new face
            per person.
    """
    _refuse_people(kit.recipe)
    tray = FaceFolder(folder)
    names = tray.names()
    tray.missing(names, CROP, "crop", "align PHOTO")
    old = {name: tray.record(name).pair for name in names}
    todo = _todo(names, lambda name: old[name] is not None, again)
    given = [match.index for name, match in old.items() if match and name not in set(todo) and kit.recipe.pair.unique]
    free: AvailableFaces | None = None
    rows = _rows(by, names, kit) if by else None
    for batch in _batches(kit, names, todo, "pair"):
        ready = kit.ready
        pool_key = pool_name(kit.recipe, ready.weights)
        faces, records = _load(ready.networks, tray, batch)
        traits, free = ready.pool.traits(faces), free or AvailableFaces(len(ready.pool), given)
        for i, (name, record) in enumerate(zip(batch, records, strict=True)):
            row = rows(name) if rows else None
            match = pair(ready.pool, traits.rows(slice(i, i + 1)), kit.recipe.pair, free, [_seed(kit.recipe, [record])],
                         row)[0]
            codes = ready.pool.codes[match.index].expand(ready.networks.generator.n_layers, -1)
            write_picture(tray.path(name, PAIR_LOOK), _look(ready.networks, codes))
            found = Pairing(index=match.index, distance=match.distance, pool=pool_key)
            tray.keep(name, record.model_copy(update={"pair": found}))
    _conclude(kit, tray, "pairs", names, todo, PAIR_LOOK, (CROP,))
    matches = [(name, tray.record(name).pair) for name in names]
    lines = [f"{name},{match.index},{match.distance}" for name, match in matches if match]
    write_bytes(tray.folder / PAIRS, "\n".join(["face,pool,distance", *lines, ""]).encode("utf-8", "backslashreplace"))


def _rows(by: tuple[Path, Path], names: list[str], kit: StepContext) -> Callable[[str], torch.Tensor]:
    """From a face's name to its distances [1, N] to the pool, by embeddings that somebody made."""
    real, pool = read_embeddings(by[0], names), read_embeddings(by[1], len(kit.ready.pool))
    if real.shape[1] != pool.shape[1]:
        raise UsageError(f"{by[0]} has embeddings of {real.shape[1]} numbers, {by[1]} of {pool.shape[1]}",
                         "make both with one network")
    kind = "cosine" if kit.recipe.pair.distance == "cosine" else "euclidean"
    places = {name: i for i, name in enumerate(names)}
    return lambda name: embedding_distances(real[places[name]][None], pool, kind)


def optimize_tray(folder: Path, kit: StepContext, again: bool) -> None:
    """Make a new face of every inversion and pair.

    Raises:
        UsageError: inversions or pairs are missing or do not fit, or the recipe wants one face per person.
    """
    _refuse_people(kit.recipe)
    tray = FaceFolder(folder)
    names = tray.names()
    todo = _todo(names, lambda name: tray.has(name, RESULT), again)
    tray.missing(todo, CROP, "crop", "align PHOTO")
    tray.missing(todo, INVERSION, "inversions", "invert")
    _refuse_unpaired(tray, todo)
    for batch in _batches(kit, names, todo, "optimize"):
        ready, networks = kit.ready, kit.ready.networks
        faces, records = _load(networks, tray, batch)
        inverted = torch.stack([read_codes(tray.path(name, INVERSION), networks.generator) for name in batch])
        pairs = [_index(tray, kit, name, record) for name, record in zip(batch, records, strict=True)]
        done = optimize_faces(networks, faces, inverted, ready.pool.codes[pairs], kit.recipe.optimize,
                              _seed(kit.recipe, records), ready.pool.identities[pairs])
        for i, (name, record) in enumerate(zip(batch, records, strict=True)):
            tray.keep(name, record.model_copy(update={
                "similarity": float(done.similarity[i]), "steps": int(done.steps[i]),
                "attribute_distance": float(done.attribute_distance[i]), "judge_distance": None}))
            styles = [style[i] for style in done.styles] if done.styles else None
            write_codes(tray.path(name, RESULT), done.codes[i], networks.generator, styles)
    _conclude(kit, tray, "results", names, todo, RESULT, (CROP, INVERSION, PAIR_LOOK))


def render_tray(folder: Path, kit: StepContext, again: bool) -> None:
    """Draw every result of a folder at full resolution.

    Raises:
        UsageError: there is no result, or a damaged one.
    """
    tray = FaceFolder(folder)
    names = tray.names()
    with_codes = [name for name in names if tray.has(name, RESULT)]
    if not with_codes:
        tray.missing(names, RESULT, "results", "optimize")
    todo = _todo(with_codes, lambda name: tray.has(name, RESULT_PICTURE), again)
    for number, name in enumerate(todo, 1):
        write_picture(tray.path(name, RESULT_PICTURE), _draw(tray.path(name, RESULT), kit))
        drawn = sha256_of(tray.path(name, RESULT)), sha256_of(tray.path(name, RESULT_PICTURE))
        tray.keep(name, tray.record(name).model_copy(update={"drawn": drawn}))
        kit.say(f"render: {number}/{len(todo)}")
    _conclude(kit, tray, "pictures", with_codes, todo, RESULT_PICTURE, (RESULT,))
    without = [name for name in names if name not in with_codes]
    if without:
        kit.say(f"{listed(without)}: no results; run: mien optimize {folder}")


def render_file(source: Path, out: Path, kit: StepContext) -> None:
    """Draw a codes file at full resolution.

    Raises:
        UsageError: the file holds no codes, or OUT is no PNG. OutputError: OUT cannot be written.
    """
    check_png(out)
    check_out(source, out)
    if not source.is_file():
        raise UsageError(f"there is no file {source}")
    write_picture(out, _draw(source, kit))


def _draw(path: Path, kit: StepContext) -> Pixels:
    """The picture of a codes file at full resolution, from its styles where it has some."""
    networks, stretch = kit.networks, kit.recipe.optimize.reference
    generator = networks.generator
    if isinstance(generator, StyleGAN2) and (styles := read_styles(path, generator)) is not None:
        return render_styles(generator, [style[None] for style in styles], stretch)[0]
    return render(networks, read_codes(path, generator)[None], stretch)[0]


def _todo(names: list[str], done: Callable[[str], bool], again: bool) -> list[str]:
    return [name for name in names if again or not done(name)]


def _batches(kit: StepContext, names: list[str], todo: list[str], what: str) -> Iterator[list[str]]:
    """What is to be done, batch by batch.

    Batches are cut from the list of all faces, not of those still to be done: the optimization's jitter hangs
    on who is together, so after an interruption the same faces have to meet again.
    """
    size, wanted, finished = kit.recipe.batch, set(todo), 0
    for first in range(0, len(names), size):
        batch = [name for name in names[first : first + size] if name in wanted]
        if batch:
            yield batch
            finished += len(batch)
            kit.say(f"{what}: {finished}/{len(todo)}")


def _load(networks: Networks, tray: FaceFolder, batch: list[str]) -> tuple[Faces, list[Record]]:
    records = [tray.record(name) for name in batch]
    crops = [tray.crop(name, record) for name, record in zip(batch, records, strict=True)]
    return faces_of(networks, [record.as_face() for record in records], crops), records


@torch.inference_mode()
def _look(networks: Networks, codes: torch.Tensor) -> Pixels:
    """Whitened codes [L, 512] -> picture [256, 256, 3] uint8."""
    pixels: Pixels = to_pixels(networks.preview(networks.generator.color(codes[None])))[0].cpu().numpy()
    return pixels


def _refuse_people(recipe: Recipe) -> None:
    if recipe.identity == "per-person":
        raise UsageError("one stage alone cannot tell who is the same person in other photos",
                         "take a recipe with identity = \"per-photo\", or run: mien anonymize")


def _refuse_unpaired(tray: FaceFolder, names: list[str]) -> None:
    lacking = [name for name in names if tray.record(name).pair is None]
    if lacking:
        where = f"no pairs in {tray.folder}" if lacking == tray.names() else f"{listed(lacking)}: no pairs"
        raise UsageError(where, f"run: mien pair {tray.folder}")


def _index(tray: FaceFolder, kit: StepContext, name: str, record: Record) -> int:
    """The pool face of a record, if it is one of this pool."""
    ready: Loaded = kit.ready
    match, pool_key = record.pair, pool_name(kit.recipe, ready.weights)
    assert match is not None
    hint = f"give the --recipe of mien pair, or run: mien pair --again {tray.folder}"
    if match.pool not in ("", pool_key):
        raise UsageError(f"{name} was paired in another pool ({match.pool}, not {pool_key})", hint)
    if match.index >= len(ready.pool):
        raise UsageError(f"{name}: pair {match.index} is not in the pool of {len(ready.pool)} faces", hint)
    return match.index


def _seed(recipe: Recipe, records: list[Record]) -> int:
    """The seed that a run's first attempt takes for the same faces of a flat folder."""
    return seed_of(recipe.seed, 0, [(Path(record.file).name, record.face) for record in records])


def _conclude(kit: StepContext, tray: FaceFolder, what: str, names: list[str], todo: list[str], kind: str,
              sources: tuple[str, ...]) -> None:
    """Say what was made, what was kept, and whether that is older than what it was made from."""
    kept = [name for name in names if name not in set(todo)]
    text = f"{len(todo)} {what} made"
    if kept:
        text += f", {len(kept)} kept (--again makes them anew)"
    kit.say(text)
    stale = [name for name in kept if tray.has(name, kind) and tray.older(name, kind, sources)]
    if stale:
        kit.say(f"{listed(stale)}: kept, but older than what {what} are made from")
