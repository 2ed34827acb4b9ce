"""Compares a classifier trained on anonymized photographs with one trained on the originals.

Both are EfficientNet-Lite0 with ImageNet's weights, fine-tuned to tell CelebA's 40 attributes, with one budget, one
seed and the same order of the photographs; both are tested on real photographs of other people.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn import functional as F

from mien.datasets.dataset import plural
from mien.errors import UsageError
from mien.evaluation.confidence import estimate
from mien.evaluation.crops import Crops, cut_faces
from mien.evaluation.evaluation import Figure
from mien.evaluation.evaluators import load_detector
from mien.evaluation.pairs import PhotoPairs
from mien.evaluation.progress_callbacks import CountProgress, PartProgress
from mien.evaluation.utility import balanced_accuracy
from mien.models.features.attribute_network import ATTRIBUTES, AttributeClassifier
from mien.models.features.efficientnet_lite import EfficientNetLite0
from mien.models.hub.fetch import ensure
from mien.util.files import replace_file

EPOCHS = 8
BATCH = 32
RATE = 6e-4
SIDE = 192  # px
FROZEN = 5  # blocks: edges and textures


class Retraining(BaseModel):
    """Accuracy over 40 attributes on real photographs.

    Attributes:
        originals, anonymized: of the classifiers trained on each. difference: anonymized less originals, face by face.
        constant: of always giving the training photographs' commoner answer.
        balanced: of originals, anonymized and constant, see `utility.balanced_accuracy`.
        trained, tested: how many photographs.
        notes: what the figures do not show, such as people who were both trained and tested on.
    """

    originals: Figure
    anonymized: Figure
    difference: Figure
    constant: Figure
    balanced: tuple[float, float, float]
    trained: int
    tested: int
    seed: int
    notes: list[str] = []

    def write(self, path: Path) -> None:
        """Writes the JSON, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        replace_file(path, partial(Path.write_text, data=self.model_dump_json(indent=1), encoding="utf-8"))


def compare_training(pairs: PhotoPairs, test: PhotoPairs, seed: int = 0,
                     progress: PartProgress = lambda what, done, total: None) -> Retraining:
    """Trains a classifier on the originals and one on the anonymized photographs, and tests both on real ones.

    Args:
        pairs: originals and anonymized photographs to train on. test: real photographs, paired with themselves.

    Raises:
        UsageError: attributes are not known, or no face is found. FetchError, ModelError: weights cannot be had.
    """
    if pairs.labels is None or test.labels is None:
        raise UsageError("training needs CelebA's 40 attributes for every photograph",
                         "mien datasets check DIR shows what is known")
    detector = load_detector()
    old, new, rows = cut_faces(pairs, detector, partial(progress, "cutting out faces to train on"))
    real, _, tested = cut_faces(test, detector, partial(progress, "cutting out faces to test on"))
    if len(old) < BATCH or not len(real):
        raise UsageError(f"{len(old)} faces to train on and {len(real)} to test on are too few",
                         f"at least {BATCH} and 1 are needed")
    labels, truth = torch.from_numpy(pairs.labels[rows]).float(), test.labels[tested] > 0
    answers = [_classify(_train(crops, labels, seed, partial(progress, f"training on the {what}")), real)
               for what, crops in (("originals", old), ("anonymized", new))]
    answers.append(np.broadcast_to(labels.mean(dim=0).numpy() > 0.5, truth.shape))
    right = [(one == truth).mean(axis=1) for one in answers]
    balanced = [balanced_accuracy(one, truth) for one in answers]
    people = test.people[tested]
    figures = [Figure.of(estimate(one, people), "more") for one in (*right, right[1] - right[0])]
    return Retraining(originals=figures[0], anonymized=figures[1], constant=figures[2], difference=figures[3],
                      balanced=(balanced[0], balanced[1], balanced[2]),
                      trained=len(old), tested=len(real), seed=seed,
                      notes=_notes([pairs.person_names[i] for i in rows], [test.person_names[i] for i in tested]))


def _notes(trained: list[str], tested: list[str]) -> list[str]:
    """Says whether people were trained and tested on, from the names on each photograph; "": not known."""
    everybody, shared = set(tested) - {""}, set(trained) & set(tested) - {""}
    if not everybody or not set(trained) - {""}:
        return ["It is not known who is on the photographs: the same people may be trained and tested on."]
    if not shared:
        return []
    photos = sum(person in shared for person in tested)
    return [f"{len(shared):,} of the {plural(len(everybody), 'person', 'people')} tested on (on {photos:,} of "
            f"{plural(len(tested), 'photograph')}) were trained on too: the figures are not of other people alone."]


def _train(crops: Crops, labels: Tensor, seed: int, progress: CountProgress) -> AttributeClassifier:
    network = AttributeClassifier()
    network.trunk.load_state_dict(EfficientNetLite0.from_file(ensure(["efficientnet_lite0"])["efficientnet_lite0"]
                                                              ).state_dict())
    network.trunk.stem.requires_grad_(False)
    network.trunk.blocks[:FROZEN].requires_grad_(False)
    torch.nn.init.zeros_(network.classify.weight)
    with torch.no_grad():
        network.classify.bias.copy_(torch.logit(labels.mean(dim=0), eps=1e-3))
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=RATE, weight_decay=0.02)
    steps = EPOCHS * len(crops) // BATCH
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    for step in range(steps):
        rows = rng.permutation(len(crops))[:BATCH]
        image = F.interpolate(crops.at(rows).images(), size=(SIDE, SIDE), mode="area")
        image = image.flip(3) if rng.integers(2) else image
        features = network.trunk.head(image).mean(dim=(2, 3))
        loss = F.binary_cross_entropy_with_logits(network.classify(F.dropout(features, 0.3)), labels[rows])
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20, 2 * (1 - step / steps))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        progress(step + 1, steps)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def _classify(network: AttributeClassifier, crops: Crops) -> np.ndarray:
    """Answers for 40 attributes: [N, 40] bool."""
    parts = [network(crops.at(np.arange(first, min(first + BATCH, len(crops)))).images()) > 0
             for first in range(0, len(crops), BATCH)]
    assert parts[0].shape[1] == len(ATTRIBUTES)
    return torch.cat(parts).numpy()
