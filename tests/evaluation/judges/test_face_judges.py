"""A judge is known by its fingerprint, not its name: vectors of another judge of the same name are not reused."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.drawn_faces import drawn_photo
from helpers.fake_run import save
from helpers.generated_people import Generated
from mien.errors import ModelError, UsageError
from mien.evaluation.evaluate import EvaluationConfig, evaluate
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.evaluators import fingerprints
from mien.evaluation.judges.face_judges import DEFAULT_JUDGES, fingerprint, load_face_judges
from mien.evaluation.measure_sets import measure_sets
from mien.models.hub.cache import sha256_of
from mien.models.hub.shipped import shipped_file

NAME = "judge_of_a_user"
PLUG_IN = "def embed(photo, points):\n    return {}\n"


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module's file that can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    file = tmp_path / f"{NAME}.py"
    file.write_text(PLUG_IN.format([1, 2]))
    return file


def test_a_judge_that_has_changed_judges_again(plug_in: Path, tmp_path: Path) -> None:
    photo = [save(tmp_path / "a.png", drawn_photo())]

    def seen() -> list[float]:
        one = measure_sets(photo, {"a": photo}, (f"{NAME}:embed",), tmp_path / "seen")["a"]
        return np.asarray(one.columns[f"vector_{NAME}:embed"])[0].tolist()

    assert seen() == [1, 2]
    plug_in.write_text(PLUG_IN.format([30, 40, 50]))
    importlib.reload(sys.modules[NAME])
    assert seen() == [30, 40, 50]


def test_what_was_imported_is_what_judges(plug_in: Path) -> None:
    """The file may be edited while an evaluation, or a notebook, still has what it was."""
    before = fingerprint(f"{NAME}:embed")
    assert before == sha256_of(plug_in)
    plug_in.write_text(PLUG_IN.format([30, 40, 50]))
    assert fingerprint(f"{NAME}:embed") == before
    importlib.reload(sys.modules[NAME])
    assert fingerprint(f"{NAME}:embed") == sha256_of(plug_in) != before


def test_a_function_from_another_module_changes_with_both(plug_in: Path, tmp_path: Path) -> None:
    front = tmp_path / "front_of_a_user.py"
    front.write_text(f"from {NAME} import embed\n")
    assert fingerprint("front_of_a_user:embed") == f"{sha256_of(front)} {sha256_of(plug_in)}"
    with pytest.raises(UsageError, match="no judge"):
        fingerprint("front_of_a_user:absent")


def test_a_function_without_a_file_is_never_taken_for_another(plug_in: Path) -> None:
    module = importlib.import_module(NAME)
    found = set()
    for _ in range(2):
        exec("def embed(photo, points): return [1]", {"__name__": "nowhere"}, vars(module))
        found.add(fingerprint(f"{NAME}:embed"))
    assert len(found) == 2 and fingerprint(f"{NAME}:embed") in found


@pytest.mark.parametrize(("body", "words"), [
    ("np.ones(3) @ np.ones(4)", "failed: ValueError: matmul"), ("{}['no']", "failed: KeyError: 'no'"),
    ("[[1, 2], [3]]", "failed: ValueError"), ("[1.0, float('nan')]", r"returned \[2\] in place of a vector"),
    ("[[1, 2]]", r"returned \[1, 2\] in place"), ("[]", r"returned \[0\] in place")])
def test_a_plug_in_with_a_fault_stops_the_evaluation_and_is_named(plug_in: Path, tmp_path: Path, body: str,
                                                                  words: str) -> None:
    """It does not look as if it could judge no face."""
    plug_in.write_text(f"import numpy as np\n{PLUG_IN.format(body)}")
    photo = [save(tmp_path / "a.png", drawn_photo())]
    with pytest.raises(UsageError, match=f"the judge {NAME}:embed {words}") as caught:
        measure_sets(photo, {"a": photo}, (f"{NAME}:embed",), tmp_path / "seen")
    assert "or None for a face that it cannot judge" in caught.value.hint


def test_an_error_of_a_plug_in_that_mien_defines_is_its_own(plug_in: Path, tmp_path: Path) -> None:
    plug_in.write_text("from mien.errors import ModelError\n\n\ndef embed(photo, points):\n"
                       "    raise ModelError('no weights')\n")
    photo = [save(tmp_path / "a.png", drawn_photo())]
    with pytest.raises(ModelError, match=r"^no weights$"):
        measure_sets(photo, {"a": photo}, (f"{NAME}:embed",), tmp_path / "seen")


@pytest.mark.parametrize(("text", "words"), [
    ("def embed(", "SyntaxError"), ("embed = unknown", "NameError"), ("raise SystemError('no')", "SystemError: no"),
    ("", "has no attribute 'embed'"), ("embed = 3", "is no function: int")])
def test_a_module_that_is_no_judge_is_refused_in_one_sentence(plug_in: Path, text: str, words: str) -> None:
    plug_in.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_face_judges([f"{NAME}:embed"])
    with pytest.raises(UsageError, match=r"there is no judge '\.a:b'"):
        load_face_judges([".a:b"])


def test_faces_that_a_plug_in_cannot_judge_are_left_out_and_the_result_is_read_again(
        plug_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows one person alone, of whom no threshold can be made."""
    monkeypatch.setattr("mien.evaluation.confidence.LEAST_FACES", 1)
    monkeypatch.setattr("mien.evaluation.confidence.LEAST_PEOPLE", 1)
    plug_in.write_text(PLUG_IN.format("[photo.mean(), 1] if photo.mean() > 120 else None"))
    for number, shade in enumerate((0, 90)):
        for shot in (1, 2):
            picture = np.clip(drawn_photo().astype(int) + 20 - shade - 5 * shot, 0, 255).astype(np.uint8)
            save(tmp_path / "src" / f"P_{number}" / f"P_{number}_{shot:04d}.png", picture)
    result = evaluate(EvaluationConfig(tmp_path / "src", tmp_path / "src", tmp_path / "work", layout="lfw",
                                       baselines=(), judges=(f"{NAME}:embed", "faceplugin")))
    assert result.judges[f"{NAME}:embed"].thresholds == {}
    privacy = result.sets["originals"].figures[f"privacy/{NAME}:embed"]
    assert privacy["distance_own_original"].count == 2 and privacy["distance_own_original"].people == 1
    result.write(tmp_path / "result.json")
    assert Evaluation.read(tmp_path / "result.json") == result


def test_weights_tell_the_own_judges(weights: Callable[[str], Path]) -> None:
    assert fingerprint("dlib") == " ".join(sha256_of(weights(name)) for name in ("dlib_resnet", "shape_predictor"))
    found = fingerprints(("faceplugin", "dlib", "sface"))
    assert found["judge faceplugin"] == sha256_of(shipped_file("independent_judge"))
    assert found["judge sface"] == sha256_of(weights("sface")) and found["age"] == sha256_of(weights("age"))


def test_the_judges_by_default_are_loss_gate_and_one_that_is_neither(generated: Generated) -> None:
    """Each tells two people apart, and knows a person again whose photograph was taken a little darker."""
    judges = load_face_judges(list(DEFAULT_JUDGES))
    assert [judge.name for judge in judges] == ["faceplugin", "dlib", "sface"]
    (one, other), (face, second) = generated.photos, generated.found
    for judge in judges:
        vectors = [judge.embed(*seen) for seen in ((one, face), (one // 4 * 3, face), (other, second))]
        assert np.linalg.norm(vectors[0] - vectors[1]) < 0.7 * np.linalg.norm(vectors[0] - vectors[2])
