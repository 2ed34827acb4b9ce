from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import ModelError
from mien.models.formats import dlib_archive
from mien.models.formats.dlib_archive import DlibArchive

INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
NO_TENSOR = b"\x01\x02" + b"\x01\x00" * 4


def pack(*values: int) -> bytes:
    """Integers as dlib writes them."""
    out = b""
    for value in values:
        size = max(1, (abs(value).bit_length() + 7) // 8)
        out += bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")
    return out


def text(name: str) -> bytes:
    return pack(len(name)) + name.encode()


def tensor(*shape: int) -> bytes:
    return pack(2, *shape) + np.arange(np.prod(shape), dtype="<f4").tobytes()


def layer(kind: str, details: bytes = b"") -> bytes:
    return text(kind) + details + b"110" + 3 * NO_TENSOR


def network(*, kind: str = "relu_", convolution: bytes = tensor(32, 1, 1, 1)) -> bytes:
    """A 1x1 convolution of 8 filters, a tagged layer, and a pooling layer."""
    con = text("con_4") + convolution + pack(8, 1, 1, 1, 1, 0, 0)
    con += pack(1, 8, 3, 1, 1) + pack(1, 1, 8, 1, 1) + pack(1, 0) * 4 + b"110" + 3 * NO_TENSOR + pack(1)
    head = pack(1) + text("loss_metric_2") + pack(5, -3, 5, -3) + pack(2, 2, 1, 3)
    rgb = text("input_rgb_image_sized") + pack(3, 0, 5, -1, 7, 2) + pack(4, 6)
    return head + rgb + con + layer(kind) + layer("max_pool_2", pack(3, 3, 2, 2, 0, 0))


def test_network_is_read_from_the_input_to_the_output() -> None:
    found = DlibArchive(network()).network()
    assert found.mean == (3.0, 2.5, 28.0)
    assert found.size == (4, 6)
    assert [each.kind for each in found.layers] == ["con_4", "relu_", "max_pool_2"]
    assert found.layers[0].settings[:7] == (8, 1, 1, 1, 1, 0, 0)
    assert found.layers[0].weights.tolist() == list(range(32))
    assert found.layers[2].settings == (3, 3, 2, 2, 0, 0)


@given(st.lists(INT64, max_size=20))
def test_integers_come_back(values: list[int]) -> None:
    archive = DlibArchive(pack(*values))
    assert archive.integers(len(values)).tolist() == values
    archive.finish()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_floats_come_back_to_the_bit(values: list[float]) -> None:
    data = b""
    for value in values:
        mantissa, exponent = np.frexp(value)
        data += pack(int(mantissa * 2**24), int(exponent) - 24)
    expected = np.array(values, dtype=np.float32)
    np.testing.assert_array_equal(DlibArchive(data).floats(len(values)), expected)


def test_every_truncation_is_a_model_error() -> None:
    data = network()
    for size in range(len(data)):
        with pytest.raises(ModelError):
            DlibArchive(data[:size]).network()


def test_bytes_behind_the_end_are_a_model_error() -> None:
    with pytest.raises(ModelError, match="should not be there"):
        DlibArchive(network() + b"\x01").network()


@settings(max_examples=300)
@given(st.integers(0, len(network()) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_a_model_error(at: int, value: int) -> None:
    data = bytearray(network())
    data[at] = value
    try:
        DlibArchive(bytes(data)).network()
    except ModelError as error:
        assert "dlib archive" in error.message


@given(st.binary(max_size=200))
def test_noise_is_a_model_error(data: bytes) -> None:
    with pytest.raises(ModelError):
        DlibArchive(data).network()


@pytest.mark.parametrize(
    ("data", "read"),
    [
        pytest.param(b"\x09" + bytes(9), DlibArchive.integer, id="integer of nine bytes"),
        pytest.param(b"\x00\x01", DlibArchive.integer, id="integer of no bytes"),
        pytest.param(b"\x11\x01", DlibArchive.integer, id="reserved bits"),
        pytest.param(b"\x08" + b"\xff" * 8, DlibArchive.integer, id="beyond 64 bits"),
        pytest.param(pack(2**40), DlibArchive.integer, id="larger than a dimension can be"),
        pytest.param(pack(1, 32000), lambda a: a.floats(1), id="infinity"),
        pytest.param(pack(1, 32002), lambda a: a.floats(1), id="NaN"),
        pytest.param(pack(1, 30000), lambda a: a.floats(1), id="beyond float32"),
        pytest.param(pack(1, -(2**63)), lambda a: a.floats(1), id="exponent beyond all bounds"),
        pytest.param(pack(1), lambda a: a.integers(10**12), id="more integers than bytes"),
        pytest.param(pack(-1), DlibArchive.count, id="negative length"),
        pytest.param(pack(10**6), DlibArchive.count, id="vector beyond all bounds"),
        pytest.param(pack(2, *[2**31 - 1] * 4), DlibArchive.tensor, id="tensor of 2^124 numbers"),
        pytest.param(pack(2, -4, -4, 1, 1) + bytes(64), DlibArchive.tensor, id="negative dimensions"),
        pytest.param(pack(1, 1, 1, 1, 1) + bytes(4), DlibArchive.tensor, id="old tensor"),
        pytest.param(pack(2, 1, 1, 1, 1) + b"\0\0\xc0\x7f", DlibArchive.tensor, id="weight that is NaN"),
        pytest.param(pack(-5, -5), DlibArchive.column, id="matrix that is no column"),
        pytest.param(b"2", DlibArchive.flag, id="no flag"),
        pytest.param(pack(2) + b"\xff\xff", DlibArchive.text, id="name that is not ASCII"),
        pytest.param(pack(2) * 10**4, lambda a: a._wrappers(), id="wrappers without end"),
        pytest.param(network(kind="dropout_"), DlibArchive.network, id="unknown layer"),
    ],
)
def test_what_cannot_be_is_a_model_error(data: bytes, read: Callable[[DlibArchive], object]) -> None:
    with pytest.raises(ModelError):
        read(DlibArchive(data))


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path, tmp_path / "missing.dat"):
        with pytest.raises(ModelError, match="cannot read"):
            DlibArchive.open(path)
    (tmp_path / "large.dat").write_bytes(bytes(11))
    monkeypatch.setattr(dlib_archive, "MAX_BYTES", 10)
    with pytest.raises(ModelError, match=r"large\.dat has 11 bytes"):
        DlibArchive.open(tmp_path / "large.dat")
