from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from helpers.fake_networks import toy_codes, toy_faces, toy_networks
from helpers.generated_people import Generated
from mien.anonymizer.align import align
from mien.anonymizer.losses import (
    color_distance,
    face_weight,
    faces_of,
    feature_distance,
    identity_of,
    pixel_distance,
    shrunk,
    view_matrix,
)
from mien.models.bundle import Networks
from mien.models.features.base import ConvFeatures
from mien.util.image_tensors import ellipse, to_tensor

LEVELS = ConvFeatures.weights


def random_images(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 256, 256, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def blurred(image: Tensor, sigma: float) -> Tensor:
    array = image[0].permute(1, 2, 0).numpy()
    return torch.from_numpy(cv2.GaussianBlur(array, (0, 0), sigma)).permute(2, 0, 1)[None] if sigma else image


@given(count=st.integers(1, 3), seed=st.integers(0, 1000), cut=st.integers(1, 15))
@settings(max_examples=12, deadline=None)
def test_pixel_distance_ignores_pixels_of_no_weight(count: int, seed: int, cut: int) -> None:
    """Whole cells of 16 px are ignored, whatever their pixels are."""
    a, b = random_images(count, seed), random_images(count, seed + 1)
    weight = torch.ones(count, 1, 256, 256)
    weight[..., : 16 * cut] = 0
    other = b.clone()
    other[..., : 16 * cut] = 1e6
    expected = pixel_distance(a, b, weight)
    assert expected.shape == (count,)
    assert torch.equal(pixel_distance(a, other, weight), expected)


@pytest.mark.parametrize("distance", [pixel_distance, color_distance])
def test_pixels_beyond_the_edge_leak_into_no_coarse_pixel(distance: Callable[..., Tensor]) -> None:
    """They do not even where a photo's edge crosses the cells that pictures are shrunk to."""
    a, b = random_images(1, 3), random_images(1, 4)
    weight = torch.ones(1, 1, 256, 256)
    weight[..., :133] = 0
    other = b.clone()
    other[..., :133] = 1e3
    assert torch.equal(distance(a, other, weight), distance(a, b, weight))


@given(seed=st.integers(0, 1000), offset=st.floats(-1, 1))
@settings(max_examples=10, deadline=None)
def test_pixel_distance_of_a_constant_offset_is_three_times_it(seed: int, offset: float) -> None:
    """It counts once at each of the three sizes."""
    a = random_images(2, seed)
    for weight in (torch.ones(2, 1, 256, 256), ellipse(256).expand(2, -1, -1, -1)):
        assert pixel_distance(a + offset, a, weight).tolist() == pytest.approx([3 * abs(offset)] * 2, abs=1e-4)


def test_pixel_distance_is_symmetric_and_zero_only_for_equals() -> None:
    a, b, weight = random_images(2, 1), random_images(2, 2), torch.ones(2, 1, 256, 256)
    assert torch.equal(pixel_distance(a, b, weight), pixel_distance(b, a, weight))
    assert pixel_distance(a, a, weight).tolist() == [0.0, 0.0]
    assert (pixel_distance(a, b, weight) > 0.5).all()


def test_pixel_distance_weighs_large_shapes_more_than_noise() -> None:
    """Noise averages out at 64 and 16 px, and a change of the light does not."""
    a, weight = torch.zeros(1, 3, 256, 256), torch.ones(1, 1, 256, 256)
    noise = 0.2 * torch.sign(random_images(1, 0))
    assert float(pixel_distance(a + 0.2, a, weight)) > 2 * float(pixel_distance(a + noise, a, weight))


def test_faces_wholly_beyond_the_edge_have_no_loss() -> None:
    a, b, none = random_images(1, 1), random_images(1, 2), torch.zeros(1, 1, 256, 256)
    assert pixel_distance(a, b, none).tolist() == [0.0]
    assert color_distance(a, b, none).tolist() == [0.0]
    features = (torch.rand(1, 4, 7, 7),) * 4
    assert feature_distance(LEVELS, features, tuple(f + 1 for f in features), none).tolist() == [0.0]


def test_distances_are_each_face_s_own() -> None:
    a, b, weight = random_images(3, 1), random_images(3, 2), ellipse(256).expand(3, -1, -1, -1)
    for distance in (pixel_distance, color_distance):
        alone = torch.cat([distance(a[i : i + 1], b[i : i + 1], weight[i : i + 1]) for i in range(3)])
        assert torch.allclose(distance(a, b, weight), alone)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_color_distance_ignores_detail(size: int) -> None:
    a, weight = torch.zeros(1, 3, 256, 256), torch.ones(1, 1, 256, 256)
    stripes = torch.ones(256)
    stripes[::2] = -1
    assert float(color_distance(a + stripes, a, weight, size)) < 1e-6
    assert float(color_distance(a + 0.3, a, weight, size)) == pytest.approx(0.3, abs=1e-5)


def test_feature_distance_by_hand() -> None:
    """Of two pixels one counts; squared distances are summed over channels, and levels by their weights."""
    a = tuple(torch.zeros(1, 2, 1, 2) for _ in LEVELS)
    b = tuple(torch.tensor([[[[1.0, 2.0]], [[1.0, 0.0]]]]) for _ in LEVELS)
    assert float(feature_distance(LEVELS, a, b)) == pytest.approx(3.0 * sum(LEVELS))  # (2 + 4) / 2
    right = torch.tensor([[[[0.0, 1.0]]]])
    assert float(feature_distance(LEVELS, a, b, right)) == pytest.approx(4.0 * sum(LEVELS))


def test_face_weight_is_one_on_the_face_less_around_it_and_zero_beyond_the_photo() -> None:
    faces = toy_faces(toy_networks()[0], toy_codes(1))
    faces.inside[..., :40] = 0
    weight = face_weight(faces, 0.25)
    assert weight.shape == (1, 1, 256, 256)
    assert not weight[..., :40].any()
    assert float(weight[0, 0, 140, 128]) == 1.0
    assert float(weight[0, 0, 2, 250]) == 0.25
    assert not face_weight(faces, 0.0)[0, 0, 2, 250:].any()


def test_real_features_of_equals_are_equal(networks: Networks, generated: Generated) -> None:
    image = generated.faces.image
    assert feature_distance(LEVELS, networks.features(image), generated.faces.features).abs().max() < 1e-6
    assert all(torch.allclose(f.norm(dim=1), torch.ones(1), atol=1e-4) for f in generated.faces.features)
    assert [f.shape[-1] for f in generated.faces.features] == [56, 28, 14, 7]


def test_real_features_move_off_steadily_as_a_picture_blurs(networks: Networks, generated: Generated) -> None:
    image = generated.faces.image[:1]
    weight = ellipse(256)
    with torch.inference_mode():
        target = networks.features(image)
        far = [float(feature_distance(LEVELS, networks.features(blurred(image, sigma)), target, weight))
               for sigma in (0, 1, 2, 4, 8)]
    assert far[0] == 0.0
    assert far == sorted(far) and far[1] > 0.01


def test_real_targets_of_a_batch(networks: Networks, generated: Generated) -> None:
    faces = generated.faces
    assert len(faces) == 2 and faces.image.shape == (2, 3, 256, 256) and faces.inside.shape == (2, 1, 256, 256)
    assert -1 <= float(faces.image.min()) < -0.5 and 0.5 < float(faces.image.max()) <= 1
    assert torch.allclose(faces.identity.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.equal(faces.image[:1], to_tensor(generated.crops[0].pixels))
    assert faces.identity[0] @ faces.identity[1] < 0.5
    assert not faces.image.requires_grad and not faces.identity.requires_grad


def test_real_identity_is_that_of_the_photo(networks: Networks, generated: Generated) -> None:
    """Crop, view and range lose nothing: the vector is as if OpenCV aligned the photo for the recognizer."""
    from mien.models.recognition.sface import align_matrix

    photo, face = generated.photos[0], generated.found[0]
    chip = cv2.warpAffine(photo, align_matrix(face.points), (112, 112))
    with torch.inference_mode():
        direct = F.normalize(networks.recognizer(torch.from_numpy(chip).permute(2, 0, 1)[None].float()), dim=1)
    assert float(direct[0] @ generated.faces.identity[0]) > 0.9


def test_real_identity_is_the_person_s_at_any_size_and_turn(networks: Networks, generated: Generated) -> None:
    photo = generated.photos[1]
    matrix = cv2.getRotationMatrix2D((128, 128), 17, 0.8)
    turned = np.asarray(cv2.warpAffine(photo, matrix, (256, 256), borderMode=cv2.BORDER_REFLECT), dtype=np.uint8)
    face = networks.detector.detect(turned)[0]
    with torch.inference_mode():
        again = faces_of(networks, [face], [align(turned, face)]).identity[0]
    assert float(again @ generated.faces.identity[1]) > 0.7
    assert float(again @ generated.faces.identity[0]) < 0.5


def test_real_identity_passes_gradients(networks: Networks, generated: Generated) -> None:
    image = generated.faces.image[:1].clone().requires_grad_()
    identity_of(networks, image, generated.faces.view[:1]).sum().backward()
    assert image.grad is not None and float(image.grad.abs().sum()) > 0


def test_points_in_one_place_have_no_view() -> None:
    with pytest.raises(ValueError, match="one place"):
        view_matrix(np.full((5, 2), 7, np.float32))


def test_real_faces_shrunk_for_a_preview_are_the_same_faces(networks: Networks, generated: Generated) -> None:
    faces = generated.faces
    small = shrunk(networks, faces, 128)
    assert small.image.shape == (2, 3, 128, 128) and small.inside.shape == (2, 1, 128, 128)
    assert ((small.identity * faces.identity).sum(dim=1) > 0.9).all()
    # The same point of the face comes to the same point of the view.
    for x, y in ((100.0, 60.0), (200.5, 130.25)):
        large = faces.view @ torch.tensor([x, y, 1.0])
        assert torch.allclose(small.view @ torch.tensor([(x - 0.5) / 2, (y - 0.5) / 2, 1.0]), large, atol=1e-3)
    assert shrunk(networks, faces, 256) is faces
