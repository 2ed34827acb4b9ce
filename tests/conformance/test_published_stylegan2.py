from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.agreement import assert_image, assert_same
from mien.models.generators.stylegan2 import StyleGAN2, prepare_stylegan2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generator(filled: Any) -> StyleGAN2:
    return StyleGAN2(prepare_stylegan2(filled("stylegan2_ffhq1024")))


@pytest.fixture(scope="module")
def reference(vectors: Any) -> Any:
    return vectors("stylegan2_ffhq1024")


@torch.inference_mode()
def test_mapping_truncation_and_styles(generator: StyleGAN2, reference: Any, fill: Any) -> None:
    w = generator.map(torch.from_numpy(fill.normal("stylegan2_ffhq1024/z", (2, 512))))
    assert_same(w, reference["w"])
    wp = generator.truncate(w, 0.7)[:, None].repeat(1, 18, 1)
    assert_same(wp, reference["wp_psi0.7"])
    ours = generator.styles(wp)
    layers = [style for i, style in enumerate(ours) if i % 3 != 1]
    outputs = [style for i, style in enumerate(ours) if i % 3 == 1]
    named = {f"style{i:02d}": style for i, style in enumerate(layers)}
    named |= {f"output_style{i}": style for i, style in enumerate(outputs)}
    assert [named[str(key)].shape[1] for key in reference["style_keys"]] == list(reference["style_dims"])
    assert_same(torch.cat([named[str(key)] for key in reference["style_keys"]], dim=1), reference["styles_concat"])


@torch.inference_mode()
def test_truncation_of_the_first_layers_only(generator: StyleGAN2, reference: Any) -> None:
    w = torch.from_numpy(reference["w"])
    wp = generator.truncate(w, 0.7)[:, None].repeat(1, 18, 1)
    wp[:, 8:] = w[:, None]
    assert_same(wp, reference["wp_psi0.7_layers8"])


@torch.inference_mode()
def test_images_from_w_plus_and_from_s(generator: StyleGAN2, reference: Any, fill: Any) -> None:
    wp = torch.from_numpy(reference["wp_psi0.7"])
    assert_image(generator(wp), reference, "image_from_wp_psi0.7")
    assert_image(generator.synthesize(generator.styles(wp)), reference, "image_from_s")
    random = torch.from_numpy(fill.normal("stylegan2_ffhq1024/wp", (1, 18, 512)))
    assert_image(generator(random), reference, "image_from_random_wp")
    w = torch.from_numpy(reference["w"])[:1]
    assert_image(generator(w[:, None].expand(-1, 18, -1)), reference, "image_from_w_no_truncation")


@torch.inference_mode()
def test_512_px_has_16_layers(filled: Any) -> None:
    generator = StyleGAN2(prepare_stylegan2(filled("stylegan2_ffhq512")))
    assert (generator.n_layers, generator.size) == (16, 512)
    assert generator(torch.zeros(1, 16, 512)).shape == (1, 3, 512, 512)
