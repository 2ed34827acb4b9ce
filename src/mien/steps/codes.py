"""The steps on latent codes: invert, pair, optimize and render. Each processes a face folder in batches."""

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
from mien.jobs.secret import keep_secret, read_secret
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
    INVERSION_PREVIEW,
    PAIR_PREVIEW,
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
from mien.util.files import write_file
from mien.util.image_tensors import to_pixels


def invert_folder(folder: Path, context: StepContext, again: bool) -> None:
    """Finds the latent codes of every crop.

    Raises:
        UsageError: the folder has no crops, or a damaged one.
    """
    face_folder = FaceFolder(folder)
    names = face_folder.names()
    face_folder.require(names, CROP, "crop", "align PHOTO")
    todo = _todo(names, lambda name: face_folder.has(name, INVERSION), again)
    for batch in _batches(context, names, todo, "invert"):
        loaded = context.loaded
        faces, records = _load(loaded.networks, face_folder, batch)
        found = invert(loaded.networks, faces, context.recipe.invert)
        for name, record, codes, error in zip(batch, records, found.codes, found.error, strict=True):
            write_picture(face_folder.path(name, INVERSION_PREVIEW), _preview(loaded.networks, codes))
            known = float(error) if error.isfinite() else None  # not measured if the recipe has no steps
            face_folder.keep(name, record.model_copy(update={"inversion_error": known}))
            write_codes(face_folder.path(name, INVERSION), codes, loaded.networks.generator)
    _report(context, face_folder, "inversions", names, todo, INVERSION, (CROP,))


def pair_folder(folder: Path, context: StepContext, again: bool, by: tuple[Path, Path] | None = None) -> None:
    """Chooses a pool face for every crop and writes the list of all pairs to pairs.csv.

    Args:
        by: files of embeddings to measure distances in: the real faces' and the pool's. By default the recipe's.

    Raises:
        UsageError: the folder has no crops or a damaged one, the embeddings do not fit, or the recipe asks for one new
            face per person.
    """
    _refuse_per_person(context.recipe)
    face_folder = FaceFolder(folder)
    names = face_folder.names()
    face_folder.require(names, CROP, "crop", "align PHOTO")
    old = {name: face_folder.record(name).pair for name in names}
    todo = _todo(names, lambda name: old[name] is not None, again)
    unique = context.recipe.pair.unique
    given = [match.index for name, match in old.items() if match and name not in set(todo) and unique]
    free: AvailableFaces | None = None
    rows = _rows(by, names, context) if by else None
    for batch in _batches(context, names, todo, "pair"):
        loaded = context.loaded
        pool_key = pool_name(context.recipe, loaded.weights)
        faces, records = _load(loaded.networks, face_folder, batch)
        secret = _secret(face_folder, context.recipe)
        traits, free = loaded.pool.traits(faces), free or AvailableFaces(len(loaded.pool), given)
        for i, (name, record) in enumerate(zip(batch, records, strict=True)):
            row = rows(name) if rows else None
            match = pair(loaded.pool, traits.rows(slice(i, i + 1)), context.recipe.pair, free,
                         [_seed(secret, [record])], row)[0]
            codes = loaded.pool.codes[match.index].expand(loaded.networks.generator.n_layers, -1)
            write_picture(face_folder.path(name, PAIR_PREVIEW), _preview(loaded.networks, codes))
            found = Pairing(index=match.index, distance=match.distance, pool=pool_key)
            face_folder.keep(name, record.model_copy(update={"pair": found}))
    _report(context, face_folder, "pairs", names, todo, PAIR_PREVIEW, (CROP,))
    _write_pairs(face_folder, names)


def _write_pairs(face_folder: FaceFolder, names: list[str]) -> None:
    matches = [(name, face_folder.record(name).pair) for name in names]
    lines = [f"{name},{match.index},{match.distance}" for name, match in matches if match]
    table = "\n".join(["face,pool,distance", *lines, ""])
    write_file(face_folder.folder / PAIRS, table.encode("utf-8", "backslashreplace"))


def _rows(by: tuple[Path, Path], names: list[str], context: StepContext) -> Callable[[str], torch.Tensor]:
    """Gives a function from a face's name to its distances [1, N] to the pool, by embeddings from two files."""
    real, pool = read_embeddings(by[0], names), read_embeddings(by[1], len(context.loaded.pool))
    if real.shape[1] != pool.shape[1]:
        raise UsageError(f"{by[0]} has embeddings of {real.shape[1]} numbers, {by[1]} of {pool.shape[1]}",
                         "make both files with the same network")
    kind = "cosine" if context.recipe.pair.distance == "cosine" else "euclidean"
    places = {name: i for i, name in enumerate(names)}
    return lambda name: embedding_distances(real[places[name]][None], pool, kind)


def optimize_folder(folder: Path, context: StepContext, again: bool) -> None:
    """Optimizes the latent codes of a new face for every inversion and pair.

    Raises:
        UsageError: inversions or pairs are missing or do not fit, or the recipe asks for one new face per person.
    """
    _refuse_per_person(context.recipe)
    face_folder = FaceFolder(folder)
    names = face_folder.names()
    todo = _todo(names, lambda name: face_folder.has(name, RESULT), again)
    face_folder.require(todo, CROP, "crop", "align PHOTO")
    face_folder.require(todo, INVERSION, "inversions", "invert")
    _refuse_unpaired(face_folder, todo)
    for batch in _batches(context, names, todo, "optimize"):
        loaded, networks = context.loaded, context.loaded.networks
        faces, records = _load(networks, face_folder, batch)
        inverted = torch.stack([read_codes(face_folder.path(name, INVERSION), networks.generator) for name in batch])
        pairs = [_index(face_folder, context, name, record) for name, record in zip(batch, records, strict=True)]
        done = optimize_faces(networks, faces, inverted, loaded.pool.codes[pairs], context.recipe.optimize,
                              _seed(_secret(face_folder, context.recipe), records), loaded.pool.identities[pairs])
        for i, (name, record) in enumerate(zip(batch, records, strict=True)):
            face_folder.keep(name, record.model_copy(update={
                "similarity": float(done.similarity[i]), "steps": int(done.steps[i]),
                "attribute_distance": float(done.attribute_distance[i]), "judge_distance": None}))
            styles = [style[i] for style in done.styles] if done.styles else None
            write_codes(face_folder.path(name, RESULT), done.codes[i], networks.generator, styles)
    _report(context, face_folder, "results", names, todo, RESULT, (CROP, INVERSION, PAIR_PREVIEW))


def render_folder(folder: Path, context: StepContext, again: bool) -> None:
    """Renders every result of a face folder at 1024 px.

    Raises:
        UsageError: the folder has no result, or a damaged one.
    """
    face_folder = FaceFolder(folder)
    names = face_folder.names()
    with_codes = [name for name in names if face_folder.has(name, RESULT)]
    if not with_codes:
        face_folder.require(names, RESULT, "results", "optimize")
    todo = _todo(with_codes, lambda name: face_folder.has(name, RESULT_PICTURE), again)
    for number, name in enumerate(todo, 1):
        write_picture(face_folder.path(name, RESULT_PICTURE), _draw(face_folder.path(name, RESULT), context))
        drawn = sha256_of(face_folder.path(name, RESULT)), sha256_of(face_folder.path(name, RESULT_PICTURE))
        face_folder.keep(name, face_folder.record(name).model_copy(update={"drawn": drawn}))
        context.say(f"render: {number}/{len(todo)}")
    _report(context, face_folder, "pictures", with_codes, todo, RESULT_PICTURE, (RESULT,))
    without = [name for name in names if name not in with_codes]
    if without:
        context.say(f"{listed(without)}: no results; run: mien steps optimize {folder}")


def render_file(source: Path, out: Path, context: StepContext) -> None:
    """Renders one codes file at 1024 px.

    Raises:
        UsageError: the file holds no codes, or OUT is not named as a PNG. OutputError: OUT cannot be written.
    """
    check_png(out)
    check_out(source, out)
    if not source.is_file():
        raise UsageError(f"there is no file {source}", "give a codes file or a folder of faces")
    write_picture(out, _draw(source, context))


def _draw(path: Path, context: StepContext) -> Pixels:
    """Renders a codes file, from its styles if it has any, else from its codes."""
    networks, stretch = context.networks, context.recipe.optimize.reference
    generator = networks.generator
    if isinstance(generator, StyleGAN2) and (styles := read_styles(path, generator)) is not None:
        return render_styles(generator, [style[None] for style in styles], stretch)[0]
    return render(networks, read_codes(path, generator)[None], stretch)[0]


def _todo(names: list[str], done: Callable[[str], bool], again: bool) -> list[str]:
    return [name for name in names if again or not done(name)]


def _batches(context: StepContext, names: list[str], todo: list[str], what: str) -> Iterator[list[str]]:
    """Yields the faces still to be done in batches, and reports progress.

    Batches are cut from the list of all faces, finished ones included: jitter is seeded per batch, so that a resumed
    command must form the same batches.
    """
    size, wanted, finished = context.recipe.batch, set(todo), 0
    for first in range(0, len(names), size):
        batch = [name for name in names[first : first + size] if name in wanted]
        if batch:
            yield batch
            finished += len(batch)
            context.say(f"{what}: {finished}/{len(todo)}")


def _load(networks: Networks, face_folder: FaceFolder, batch: list[str]) -> tuple[Faces, list[Record]]:
    records = [face_folder.record(name) for name in batch]
    crops = [face_folder.crop(name, record) for name, record in zip(batch, records, strict=True)]
    return faces_of(networks, [record.as_face() for record in records], crops), records


@torch.inference_mode()
def _preview(networks: Networks, codes: torch.Tensor) -> Pixels:
    """Renders whitened codes [L, 512] as a preview [256, 256, 3] uint8."""
    pixels: Pixels = to_pixels(networks.preview(networks.generator.color(codes[None])))[0].cpu().numpy()
    return pixels


def _refuse_per_person(recipe: Recipe) -> None:
    if recipe.identity == "per-person":
        raise UsageError("a single step cannot tell which faces of other photos are the same person (identity = "
                         "\"per-person\")", "run: mien anonymize; or give --set identity=per-photo")


def _refuse_unpaired(face_folder: FaceFolder, names: list[str]) -> None:
    lacking = [name for name in names if face_folder.record(name).pair is None]
    if lacking:
        everywhere = lacking == face_folder.names()
        raise UsageError(f"no pairs in {face_folder.folder}" if everywhere else f"{listed(lacking)}: no pairs",
                         f"run: mien steps pair {face_folder.folder}")


def _index(face_folder: FaceFolder, context: StepContext, name: str, record: Record) -> int:
    """Gives the index of a record's pool face; raises an error if it belongs to another pool."""
    loaded: Loaded = context.loaded
    match, pool_key = record.pair, pool_name(context.recipe, loaded.weights)
    assert match is not None
    hint = f"run: mien steps pair --again {face_folder.folder}; or give the --recipe that it was paired with"
    if match.pool not in ("", pool_key):
        raise UsageError(f"{name} was paired in another pool ({match.pool}, not {pool_key})", hint)
    if match.index >= len(loaded.pool):
        raise UsageError(f"{name}: pair {match.index} is not in the pool of {len(loaded.pool)} faces", hint)
    return match.index


def _secret(face_folder: FaceFolder, recipe: Recipe) -> bytes:
    """Gives the secret that the recipe's seed stands for; without a seed, one that the face folder keeps."""
    keep_secret(face_folder.folder, recipe.seed, drawn=False)
    return read_secret(face_folder.folder, recipe.seed)


def _seed(secret: bytes, records: list[Record]) -> int:
    """Gives the seed of the first attempt of `mien anonymize` for these faces, if SRC has no subfolders."""
    return seed_of(secret, 0, [(Path(record.file).name, record.face) for record in records])


def _report(context: StepContext, face_folder: FaceFolder, what: str, names: list[str], todo: list[str], kind: str,
            sources: tuple[str, ...]) -> None:
    """Reports how many files were made and kept, and which kept ones are older than their sources."""
    kept = [name for name in names if name not in set(todo)]
    text = f"{len(todo)} {what} made"
    if kept:
        text += f", {len(kept)} kept (--again makes them again)"
    context.say(text)
    stale = [name for name in kept if face_folder.has(name, kind) and face_folder.older(name, kind, sources)]
    if stale:
        context.say(f"{listed(stale)}: kept, but older than what {what} are made from")
