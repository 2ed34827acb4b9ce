"""2D-FAN-4 on made-up heat maps and small pictures; its numbers are in tests/conformance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mien.errors import ModelError
from mien.models.detection.fan import FAN, MAP, POINTS, SIZE, crop, frame, peaks, to_image


def heat(x: int, y: int, around: dict[tuple[int, int], float] | None = None) -> Tensor:
    """One heat map [1, 1, 64, 64] with its top at a place, and more heat beside it."""
    maps = torch.zeros(1, 1, MAP, MAP)
    for (dx, dy), value in ({(0, 0): 1.0} | (around or {})).items():
        maps[0, 0, y + dy, x + dx] = value
    return maps


@pytest.mark.parametrize(("maps", "point"), [
    (heat(20, 30), (20.5, 30.5)),  # flat around: the middle of the cell
    (heat(20, 30, {(1, 0): 0.5}), (20.75, 30.5)),
    (heat(20, 30, {(-1, 0): 0.5, (0, -1): 0.2}), (20.25, 30.25)),
    (heat(20, 30, {(1, 0): 0.5, (-1, 0): 0.4, (0, 1): 0.1}), (20.75, 30.75)),
    (heat(0, 30, {(1, 0): 0.5}), (0.5, 30.5)),  # at the rim there is no neighbor on one side
    (heat(63, 63, {(-1, 0): 0.5}), (63.5, 63.5)),
    (heat(20, 0, {(1, 0): 0.5}), (20.5, 0.5)),
])
def test_a_peak_leans_a_quarter_towards_its_higher_neighbor(maps: Tensor, point: tuple[float, float]) -> None:
    assert peaks(maps)[0, 0].tolist() == list(point)


def test_each_map_has_its_own_peak() -> None:
    maps = torch.cat([heat(5, 9), heat(60, 3, {(1, 0): 0.5})], dim=1).repeat(2, 1, 1, 1)
    maps[1] = maps[1].flip(0)
    assert peaks(maps).tolist() == [[[5.5, 9.5], [60.75, 3.5]], [[60.75, 3.5], [5.5, 9.5]]]


def test_the_square_of_a_box_by_hand() -> None:
    center, scale = frame(torch.tensor([10.0, 20, 110, 115]))
    assert center.tolist() == pytest.approx([60, 20 + 47.5 - 0.12 * 95])
    assert scale == pytest.approx(195 / 195)  # a side of 200 px


def test_places_of_the_picture_are_cut_off_towards_zero() -> None:
    points = torch.tensor([[0.0, 0], [32, 33], [64, 64]])
    # 200 px from -70.4 and -0.4: 3.125 px a cell
    assert to_image(points, torch.tensor([29.6, 99.6]), 1.0, MAP).tolist() == [[-70, 0], [29, 102], [129, 199]]


@pytest.mark.parametrize("whole", [torch.uint8, torch.float32])
def test_a_crop_by_hand(whole: torch.dtype) -> None:
    picture = torch.arange(3 * 300 * 400).reshape(3, 300, 400) % 251
    center = torch.tensor([150.0, 140.0])
    # A side of 512: the corners are pixels 1 and 256 of a square of 256, that is 2 and 512 more than -106 and -116.
    seen = crop(picture.to(whole), center, 2.56)
    square = torch.zeros(3, 510, 510)
    square[:, 114:414, 104:504] = picture.float()
    expected = F.interpolate(square[None], size=(SIZE, SIZE), mode="bilinear", antialias=True)[0]
    assert seen.dtype == torch.float32
    assert (seen - expected).abs().max() < 1e-3
    assert not seen[:, :50].any() and not seen[:, :, :50].any()  # above and beside the picture


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.floats(-60, 60, width=32)] * 2), st.tuples(*[st.floats(0.125, 90, width=32)] * 2))
def test_any_box_has_a_crop(corner: tuple[float, float], size: tuple[float, float]) -> None:
    box = torch.tensor([*corner, corner[0] + size[0], corner[1] + size[1]])
    seen = crop(torch.full((3, 40, 50), 255, dtype=torch.uint8), *frame(box))
    assert seen.shape == (3, SIZE, SIZE)
    assert float(seen.min()) > -1e-3 and float(seen.max()) < 255 + 1e-3


class Seeing(FAN):
    """Finds every point where the crop is brightest."""

    def forward(self, image: Tensor) -> list[Tensor]:
        self.seen = image
        gray = F.avg_pool2d(image.mean(dim=1, keepdim=True), SIZE // MAP)
        return [torch.zeros(len(image), POINTS, MAP, MAP), gray.expand(-1, POINTS, -1, -1)]


@settings(deadline=None, max_examples=15)
@given(st.integers(100, 500), st.integers(100, 300), st.integers(60, 160))
def test_landmarks_are_where_the_picture_has_them(x: int, y: int, side: int) -> None:
    picture, network = torch.zeros(3, 400, 600, dtype=torch.uint8), Seeing()
    picture[:, y - 2 : y + 3, x - 2 : x + 3] = 255
    boxes = torch.tensor([[x - side / 2, y - side / 2, x + side / 2, y + side / 2],
                          [x - side / 3, y - side / 2, x + side / 2, y + side / 3]])
    found = network.landmarks(picture, boxes)
    assert found.shape == (2, POINTS, 2)
    assert (found - torch.tensor([x, y])).abs().max() <= 200 * 2 * side / 195 / MAP + 1  # a cell, and the cutting off
    assert (found == found.round()).all()
    assert float(network.seen.max()) <= 1 + 1e-6  # the weights of a resized pixel sum up to about 1


def test_a_picture_without_boxes_has_no_landmarks() -> None:
    assert Seeing().landmarks(torch.zeros(3, 9, 9), torch.zeros(0, 4)).shape == (0, POINTS, 2)


@torch.inference_mode()
def test_the_network_s_four_stacks_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    network = FAN()
    assert sum(value.numel() for value in network.state_dict().values()) == 23_874_504
    images = torch.rand(2, 3, SIZE, SIZE)
    together, alone = network(images), network(images[1:])
    assert [maps.shape for maps in together] == [(2, POINTS, MAP, MAP)] * 4
    for a, b in zip(together, alone, strict=True):
        assert (a[1:] - b).abs().max() < 1e-4 * b.abs().max()
    assert np.abs((together[0] - together[3]).numpy()).max() > 1e-3


def test_a_file_that_is_not_the_network_is_named(tmp_path: Path) -> None:
    (tmp_path / "noise.safetensors").write_bytes(bytes(100))
    for name in ("noise", "absent"):
        with pytest.raises(ModelError, match=rf"{name}\.safetensors does not hold 2D-FAN-4"):
            FAN.from_file(tmp_path / f"{name}.safetensors")
