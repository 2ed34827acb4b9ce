"""Runs attacks with a fixed budget, and beside each what an attacker finds who does not know the method."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien.errors import UsageError
from mien.evaluation.attacks import layers, parrot, reversal
from mien.evaluation.attacks.scoring import ATTACK_METRICS, score
from mien.evaluation.attacks.split import AttackSplit, check_enough_people, make_split, named_photos
from mien.evaluation.crops import Crops
from mien.evaluation.evaluation import AttackResult, Figure, Group
from mien.evaluation.evaluators import load_detector
from mien.evaluation.pairs import PhotoPairs, sample
from mien.evaluation.progress_callbacks import CountProgress, PartProgress
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.hub.cache import sha256_of, weights_sha256
from mien.models.hub.fetch import ensure
from mien.models.hub.shipped import shipped_file
from mien.models.model_sets import model_set
from mien.models.recognition.independent_judge import WIDTH, IndependentJudge
from mien.models.recognition.sface import SFace
from mien.util.files import replace_file, stamp

FORMAT = 5  # of the files that results are kept in: rises when an attack does something else
MOST = 1000  # photographs whose faces are held at once
# Weights that every attack uses: of the detector, and of the attackers who do not know the method. The recognizer among
# these is the independent judge: the gate would find nothing, since the faces that it knew again did not pass.
COMMON_WEIGHTS, COMMON_SHIPPED = ("yunet", "efficientnet_lite0"), ("independent_judge",)
Vectors = tuple[Tensor, Tensor]  # of the new faces and of the originals [N, D], row by row

ATTACK_TITLES = {
    "layers": "fingerprint of the layers left alone",
    "parrot": "recognizer trained on anonymized faces",
    "reversal": "network that undoes the change",
}
ATTACKS = tuple(ATTACK_TITLES)


def run_attack(name: str, split: AttackSplit, seed: int = 0,
               progress: CountProgress = lambda done, total: None) -> AttackResult:
    """Runs one of `ATTACKS`.

    Raises:
        FetchError, ModelError: weights cannot be had.
    """
    started = time.perf_counter()
    old, new, people = split.part(known=False)
    attackers, budget = {"layers": _layers, "parrot": _parrot, "reversal": _reversal}[name](split, seed, progress)
    attackers |= {"faceplugin, knowing nothing": (_by_judge(new), _by_judge(old)),
                  "likeness of the pictures, knowing nothing": (_by_picture(new), _by_picture(old))}
    return AttackResult(
        title=ATTACK_TITLES[name], budget=budget, seed=seed, seconds=time.perf_counter() - started,
        known=len(np.unique(split.people[split.known])), people=len(np.unique(people)), faces=len(people),
        attackers={who: _figures(*vectors, people) for who, vectors in attackers.items()})


def check_attacks(names: Sequence[str]) -> None:
    """Refuses names that are not in `ATTACKS`.

    Raises:
        UsageError: there is one.
    """
    unknown = set(names) - set(ATTACKS)
    if unknown:
        raise UsageError(f"there is no attack {min(unknown)!r}", f"the attacks are {', '.join(ATTACKS)}")


def attacked_photos(pairs: PhotoPairs, seed: int) -> PhotoPairs:
    """The photographs of named people that attacks take: at most `MOST`, all or none of a person's.

    Raises:
        UsageError: no person is named, or too few are on these photographs.
    """
    some = sample(named_photos(pairs), MOST, seed)
    check_enough_people(some.people)
    return some


def run_attacks(names: Sequence[str], pairs: PhotoPairs, work: Path, seed: int,
                progress: PartProgress) -> dict[str, AttackResult]:
    """Attacks the `attacked_photos`; results are kept in `work` and read again while the files stay.

    Raises:
        UsageError: there is no such attack, no person is named, too few are or have a face that is found, or another
            version of mien made the photographs. FetchError, ModelError: weights cannot be had.
    """
    check_attacks(names)
    if not names:
        return {}
    some = attacked_photos(pairs, seed)
    files = [[str(path), stamp(path)] for path in (*(some.root / name for name in some.names), *some.new)]
    split: AttackSplit | None = None
    results = {}
    for name in names:
        decided = [FORMAT, files, some.people.tolist(), seed, _weights(name)]
        decided += [layers.layers_changed(some.published)] if name == "layers" else []
        key = hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:16]
        kept = work / f"{name}-{key}.json"
        if kept.exists():
            results[name] = AttackResult.model_validate_json(kept.read_bytes())
            continue
        if split is None:
            split = make_split(some, load_detector(), seed, partial(progress, "cutting out faces"))
        results[name] = run_attack(name, split, seed, partial(progress, f"attack: {ATTACK_TITLES[name]}"))
        text = results[name].model_dump_json()
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(kept, partial(Path.write_text, data=text, encoding="utf-8"))
    return results


def _weights(name: str) -> list[str]:
    """SHA-256 of all weights that decide an attack's result."""
    fetched, shipped = {"layers": (("mobilestylegan",), ("encoder", "image_head_128"))}.get(name, (("sface",), ()))
    paths = ensure((*COMMON_WEIGHTS, *fetched))
    return [*map(weights_sha256, paths), *(sha256_of(shipped_file(one)) for one in (*COMMON_SHIPPED, *shipped))]


def _figures(new: Tensor, originals: Tensor, people: np.ndarray) -> Group:
    return {name: Figure.of(one, ATTACK_METRICS[name].better) for name, one in score(new, originals, people).items()}


def _layers(split: AttackSplit, seed: int, progress: CountProgress) -> tuple[dict[str, Vectors], str]:
    chosen = model_set("mobile")
    networks = chosen.load(chosen.gather())
    progress(0, 1)
    changed = layers.layers_changed(split.published)
    vectors = layers.code_fingerprints(split, networks.encoder, changed)
    aside = f"layers {', '.join(map(str, changed))} aside" if changed else "all layers"
    budget = f"the encoder's guess, {aside}; weights of the numbers in closed form"
    return {"the layers": vectors}, budget


def _parrot(split: AttackSplit, seed: int, progress: CountProgress) -> tuple[dict[str, Vectors], str]:
    path = ensure(["sface"])["sface"]
    before, adapted = SFace.from_file(path), SFace.from_file(path)
    parrot.adapt(adapted, split, seed, progress)
    old, new, _ = split.part(known=False)
    vectors = {name: (parrot.recognize(one, new), parrot.recognize(one, old))
               for name, one in (("SFace, adapted", adapted), ("SFace as it was", before))}
    return vectors, f"{parrot.STEPS} steps, {parrot.PEOPLE} people in each"


def _reversal(split: AttackSplit, seed: int, progress: CountProgress) -> tuple[dict[str, Vectors], str]:
    recognizer = SFace.from_file(ensure(["sface"])["sface"])
    network = reversal.learn(split, recognizer, seed, progress)
    old, new, _ = split.part(known=False)
    vectors = _by_judge(reversal.undo(network, new)), _by_judge(old)
    budget = f"{reversal.STEPS} steps of {reversal.BATCH} faces at {reversal.SIZE} px"
    return {"faceplugin on the faces undone": vectors}, budget


@torch.inference_mode()
def _by_judge(crops: Crops) -> Tensor:
    """Embeds faces with the independent judge, as unit vectors [N, 512]."""
    judge = IndependentJudge.from_file(shipped_file("independent_judge"))
    vectors = torch.zeros(len(crops), WIDTH)  # stays 0 for points that no face can have
    for i in range(len(crops)):
        with suppress(ValueError):
            vectors[i] = judge.identify(crops.at(np.array([i])).views())[0]
    return vectors


@torch.inference_mode()
def _by_picture(crops: Crops) -> Tensor:
    """ImageNet's features of the crops, unit vectors [N, 1280]: they find a photograph by a face's surroundings."""
    network = EfficientNetLite0.from_file(ensure(["efficientnet_lite0"])["efficientnet_lite0"])
    parts = [network.head(torch.nn.functional.interpolate(crops.at(np.array([i])).images(), size=(224, 224),
                                                          mode="area")).mean(dim=(2, 3)) for i in range(len(crops))]
    return torch.nn.functional.normalize(torch.cat(parts), dim=1)
