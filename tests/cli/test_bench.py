from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.drawn_faces import drawn_face
from helpers.fake_run import call, save
from helpers.onnx_networks import write_means
from mien.cli.app import app
from mien.recipe import Recipe


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    """Two drawn people, two photographs of each."""
    for number, shade in enumerate((0, 40)):
        for shot in (1, 2):
            picture = np.clip(drawn_face(250).astype(int) - shade - 5 * shot, 0, 255).astype(np.uint8)
            save(tmp_path / "lfw" / f"Person_{number}" / f"Person_{number}_{shot:04d}.png", picture)
    return tmp_path / "lfw"


def test_the_command_writes_a_table_and_a_file(lfw: Path) -> None:
    done = call("bench", "lfw", lfw, "--anonymized", lfw, "--judge", "dlib", "--quiet", quick=False)
    assert done.returncode == 0, done.stderr
    assert "2 mated and 4 non-mated pairs (drawn with seed 0) of 4 photographs of 256 px" in done.stdout
    assert "judged by dlib" in done.stdout and "fd_effnet_lite0" in done.stdout
    result = json.loads((lfw.parent / "lfw.bench.json").read_text("utf-8"))
    found = result["judges"]["dlib"]["comparisons"]
    assert found["own_original"]["auc"]["value"] == 1
    assert found["other_photo"] == found["new"] == found["originals"] == found["published"]
    assert result["distances"]["fd_effnet_lite0"] == pytest.approx(0, abs=1e-3)
    assert (lfw.parent / "lfw.bench.work").stat().st_mode & 0o77 == 0


def test_a_user_s_judge_has_its_own_role_whatever_it_is_called(lfw: Path, tmp_path: Path) -> None:
    """SFace is in the loss of the run that made the set, and a file of this name is not."""
    pytest.importorskip("onnxruntime")
    dst = Path(shutil.copytree(lfw, tmp_path / "dst"))
    (dst / "mien.json").write_text(json.dumps({"recipe": Recipe().model_dump(mode="json")}))
    judge = write_means(tmp_path / "sface.onnx")
    done = CliRunner().invoke(app, ["bench", "lfw", str(lfw), "--anonymized", str(dst), "--judge", str(judge),
                                    "--judge", "dlib", "--quiet"])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "lfw.bench.json").read_text("utf-8"))
    assert {name: one["role"] for name, one in result["judges"].items()} == {"sface": "independent", "dlib": "gate"}


def test_what_is_wrong_is_said_before_the_work_begins(lfw: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    wrong = [((tmp_path / "empty", "--judge", "dlib"), 2, "empty"),
             ((lfw, "--out", tmp_path / "figures.txt"), 2, "end its name in .json"),
             ((lfw, "--out", tmp_path / "no" / "figures.json"), 4, "cannot write"),
             ((lfw, "--out", lfw.parent), 2, "JSON")]
    if os.geteuid():  # root may write anywhere
        wrong.append(((lfw, "--out", closed / "figures.json"), 4, "permission"))
    for words, code, text in wrong:
        done = call("bench", "lfw", *words, "--quiet", quick=False)
        assert text in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code
    assert not list(tmp_path.glob("*.work"))
