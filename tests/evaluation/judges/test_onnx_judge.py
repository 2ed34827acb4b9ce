"""Judges that are users' ONNX files: what they are given, how they are told apart, and which are refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto

from helpers.drawn_faces import drawn_photo
from helpers.fake_run import save
from helpers.onnx_networks import NCHW, NHWC, write_means
from mien.errors import UsageError
from mien.evaluation.evaluators import fingerprints
from mien.evaluation.judges.face_judges import fingerprint, judge_name, load_face_judges
from mien.evaluation.judges.onnx_judge import OnnxInput, OnnxRecognizer
from mien.evaluation.measure_sets import measure_sets

pytest.importorskip("onnxruntime")


def chip() -> torch.Tensor:
    """Red 255, green 51, blue 0."""
    return torch.tensor([1.0, -0.6, -1.0]).reshape(1, 3, 1, 1).expand(1, 3, 112, 112)


def told(path: Path, given: OnnxInput | None = None) -> list[float]:
    vector = OnnxRecognizer(path, given or OnnxInput()).identify(chip())
    assert vector.shape == (1, 3) and float(vector.norm()) == pytest.approx(1)
    return [round(float(x), 2) for x in vector[0] / vector.abs().max()]


@pytest.mark.parametrize(("shape", "axes"), [
    (NCHW, (2, 3)), (("batch", 3, 112, 112), (2, 3)), (("n", 3, "h", "w"), (2, 3)), ((None, None, None, None), (2, 3)),
    (NHWC, (1, 2)), (("batch", 112, 112, 3), (1, 2)), (("n", "h", "w", 3), (1, 2))])
def test_the_order_of_the_axes_is_told_by_the_file(tmp_path: Path, shape: tuple[int | str | None, ...],
                                                   axes: tuple[int, ...]) -> None:
    assert told(write_means(tmp_path / "a.onnx", shape, axes)) == [1, -0.6, -1]


def test_colors_come_as_asked_for(tmp_path: Path) -> None:
    path = write_means(tmp_path / "a.onnx")
    assert told(path, OnnxInput("bgr")) == [-1, -0.6, 1]
    assert told(path, OnnxInput("rgb", 0, 255)) == [1, 0.2, 0]
    assert told(path, OnnxInput("bgr", 0, 1)) == [0, 0.2, 1]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_precisions_are_converted(tmp_path: Path, kind: int) -> None:
    assert told(write_means(tmp_path / "a.onnx", kind=kind)) == [1, -0.6, -1]


@pytest.mark.parametrize(("shape", "axes", "keep", "words"), [
    ((1, 3, 224, 224), (2, 3), 0, "takes [1, 3, 224, 224] in place of one face"),
    ((8, 3, 112, 112), (2, 3), 0, "takes [8, 3, 112, 112] in place of one face"),
    ((1, 3, 112), (2,), 0, "takes [1, 3, 112] in place of one face"),
    (NCHW, (3,), 0, "gives [1, 3, 112] for one face"), (NCHW, (1, 2, 3), 0, "gives [1] for one face"),
    (NCHW, (1, 2, 3), 1, "gives [1, 1, 1, 1] for one face"), (NCHW, (0, 2, 3), 0, "gives [3] for one face")])
def test_networks_that_do_not_recognize_are_refused(tmp_path: Path, shape: tuple[int, ...], axes: tuple[int, ...],
                                                    keep: int, words: str) -> None:
    path = write_means(tmp_path / "a.onnx", shape, axes, keep)
    with pytest.raises(UsageError) as caught:
        load_face_judges([str(path)])
    assert caught.value.message.startswith(f"the judge {path} ") and words in caught.value.message
    assert "112 px" in caught.value.hint


def test_a_vector_with_axes_of_length_1_is_one(tmp_path: Path) -> None:
    assert told(write_means(tmp_path / "a.onnx", keep=1)) == [1, -0.6, -1]


def test_numbers_that_are_not_floating_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"takes tensor\(int32\) in place of floating-point"):
        load_face_judges([str(write_means(tmp_path / "a.onnx", kind=TensorProto.INT32))])


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    for name, words in (("text.onnx", "text.onnx is not a usable ONNX"), ("absent.onnx", "there is no judge .*absent")):
        with pytest.raises(UsageError, match=words):
            load_face_judges([str(tmp_path / name)])
    with pytest.raises(UsageError, match="there is no judge"):
        fingerprint(str(tmp_path / "absent.onnx"))


def test_without_onnxruntime_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_means(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="needs onnxruntime") as caught:
        load_face_judges([str(path)])
    assert "pip install mien[onnx]" in caught.value.hint


@pytest.mark.parametrize("values", [("gbr", 0.0, 1.0), ("rgb", float("nan"), 1.0), ("rgb", 0.0, 0.0),
                                    ("rgb", 0.0, -1.0), ("rgb", 0.0, float("inf"))])
def test_inputs_that_cannot_be_are_refused(values: tuple[str, float, float]) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        OnnxInput(*values)


def test_a_judge_is_called_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, same = write_means(tmp_path / "mine.onnx"), write_means(tmp_path / "other" / "mine.onnx")
    assert [judge.name for judge in load_face_judges([OnnxInput("bgr").of(str(one))])] == ["mine"]
    assert judge_name("pkg.onnx:embed") == "pkg.onnx:embed" and judge_name("dlib") == "dlib"
    with pytest.raises(UsageError, match="2 judges are called 'mine'"):
        load_face_judges([str(one), str(same)])
    with pytest.raises(UsageError, match="2 judges are called 'sface'"):
        load_face_judges(["sface", str(tmp_path / "sface.onnx")])


@pytest.mark.parametrize("options", ["color=rgb", "mean=much", "channels", "channels=gbr"])
def test_options_in_a_name_are_checked(tmp_path: Path, options: str) -> None:
    with pytest.raises(UsageError):
        load_face_judges([f"{write_means(tmp_path / 'a.onnx')}?{options}"])


def test_a_fingerprint_tells_file_and_input(tmp_path: Path) -> None:
    path = str(write_means(tmp_path / "a.onnx"))
    inputs = OnnxInput(), OnnxInput("bgr"), OnnxInput(mean=127), OnnxInput(scale=128)
    asked = [path, *(given.of(path) for given in inputs)]
    found = list(map(fingerprint, asked))
    assert found[0] == found[1] and len(set(found)) == 4
    write_means(Path(path), NHWC, (1, 2))
    assert not set(map(fingerprint, asked)) & set(found)
    assert "judge a" in fingerprints([asked[2]]) and not any("/" in name for name in fingerprints([asked[2]]))


def test_another_input_is_measured_anew(tmp_path: Path) -> None:
    photo, path = [save(tmp_path / "a.png", drawn_photo())], str(write_means(tmp_path / "mine.onnx"))

    def seen(given: OnnxInput) -> np.ndarray:
        one = measure_sets(photo, {"a": photo}, (given.of(path),), tmp_path / "seen")["a"]
        return np.array(one.columns["vector_mine"][0])

    first, second = seen(OnnxInput(mean=0)), seen(OnnxInput("bgr", mean=0))
    np.testing.assert_allclose(first, second[::-1], rtol=1e-6)
    assert abs(first - second).max() > 1e-3
