from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.drawn_faces import drawn_photo
from helpers.fake_run import call, save
from helpers.onnx_networks import write_means
from mien.cli.app import app
from mien.errors import UsageError
from mien.evaluation.attacks.run_attack import MOST
from mien.evaluation.evaluation import Evaluation
from mien.recipe import Recipe


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "dst").mkdir()
    done = call("evaluate", tmp_path / "src", tmp_path / "dst", quick=False)
    assert done.returncode == 2 and "there are no photographs in" in done.stderr and "Traceback" not in done.stderr


def test_the_command_writes_a_table_and_a_file(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", drawn_photo())
    save(tmp_path / "dst" / "a.png", drawn_photo())
    done = call("evaluate", tmp_path / "src", tmp_path / "dst", "--bounds", "none", "--quiet", quick=False)
    assert done.returncode == 0, done.stderr
    result = Evaluation.read(tmp_path / "dst.json")
    assert list(result.judges) == ["faceplugin", "dlib", "sface"]
    assert result.faces == 1 and result.sets["dst"].figures["utility"]["found_yunet"].value == 1
    assert "face found" in done.stdout and "Nobody is named" in done.stdout
    assert (tmp_path / "dst.evaluation.work").stat().st_mode & 0o77 == 0
    assert "not known" in (tmp_path / "dst.html").read_text("utf-8")


def test_a_user_s_judge_and_the_roles_of_mien_s_own(tmp_path: Path) -> None:
    """The set is by a run whose gate was loosened."""
    pytest.importorskip("onnxruntime")
    save(tmp_path / "src" / "a.png", drawn_photo())
    save(tmp_path / "dst" / "a.png", drawn_photo())
    recipe = Recipe().with_changes({"verify.threshold": 0.45}).model_dump(mode="json")
    (tmp_path / "dst" / "mien.json").write_text(json.dumps({"recipe": recipe}))
    judge = write_means(tmp_path / "mine.onnx")
    done = CliRunner().invoke(app, [
        "evaluate", str(tmp_path / "src"), str(tmp_path / "dst"), "--bounds", "none", "--quiet", "--judge", "sface",
        "--judge", "dlib", "--judge", str(judge), "--judge-channels", "bgr", "--judge-mean", "0"])
    assert done.exit_code == 0, done.output
    result = Evaluation.read(tmp_path / "dst.json")
    assert {name: one.role for name, one in result.judges.items()} == {
        "sface": "loss", "dlib": "gate", "mine": "independent"}
    assert any("verify.threshold is 0.45" in note and "0.6" in note for note in result.notes)
    assert str(tmp_path) not in (tmp_path / "dst.json").read_text("utf-8")


@pytest.mark.parametrize(("options", "words"), [
    (("--judge", "absent.onnx"), "there is no judge absent.onnx"), (("--judge", "absent"), "no judge 'absent'"),
    (("--judge-channels", "gbr"), "'gbr'"), (("--judge-scale", "0"), "/ 0.0")])
def test_judges_that_cannot_be_are_refused(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    save(tmp_path / "src" / "a.png", drawn_photo())
    save(tmp_path / "dst" / "a.png", drawn_photo())
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "src"), str(tmp_path / "dst"), *options])
    assert isinstance(done.exception, UsageError) and words in done.exception.message
    assert not list(tmp_path.glob("dst.*"))


@pytest.mark.parametrize("command", ["attack", "evaluate"])
def test_the_help_says_how_many_photographs_are_attacked(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0 and f"{MOST:,}" in done.output


def test_the_page_does_not_take_the_figures_place(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", drawn_photo())
    save(tmp_path / "dst" / "a.png", drawn_photo())
    done = call("evaluate", tmp_path / "src", tmp_path / "dst", "--out", tmp_path / "one.html", quick=False)
    assert done.returncode == 2 and "--page" in done.stderr and not (tmp_path / "one.html").exists()


@pytest.mark.slow
def test_attacks_and_trainings_say_what_they_need(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", drawn_photo())
    save(tmp_path / "dst" / "a.png", drawn_photo())
    for words, wanted in ((("attack", "layers"), "nobody is named"), (("attack", "magic"), "no attack 'magic'"),
                          (("evaluate", "--attack", "magic"), "no attack 'magic'"),
                          (("evaluate", "--compare", "magic"), "no recipe 'magic'"),
                          (("evaluate", "--least", "3"), "nobody is on 3 photographs")):
        done = call(*words, tmp_path / "src", tmp_path / "dst", "--quiet", quick=False)
        assert done.returncode == 2 and wanted in done.stderr and "Traceback" not in done.stderr
    done = call("compare-training", tmp_path / "src", tmp_path / "dst", tmp_path / "src", "--quiet", quick=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
