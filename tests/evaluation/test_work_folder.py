"""One evaluation at a time works in a private folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.drawn_faces import drawn_photo
from helpers.fake_run import call, environment, save
from mien.cli.app import app
from mien.errors import OutputError, UsageError
from mien.evaluation.evaluate import EvaluationConfig, evaluate, measure_originals_and_new
from mien.evaluation.work_folder import check_apart, opened

HOLD = """
import sys, time
from pathlib import Path
from mien.evaluation.work_folder import opened
with opened(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_evaluations_do_not_share_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", drawn_photo())
    config = EvaluationConfig(tmp_path / "src", tmp_path / "src", tmp_path / "work", baselines=(), judges=("dlib",))
    refused: list[str] = []

    def try_too(*_: object) -> None:
        for other in (evaluate, measure_originals_and_new):
            with pytest.raises(OutputError, match="another evaluation is at work") as caught:
                other(config)
            refused.append(caught.value.hint)

    with opened(tmp_path / "held"):
        done = call("attack", "layers", config.src, config.src, "--work", tmp_path / "held", quick=False)
        assert done.returncode == 4 and "another evaluation is at work" in done.stderr
    first = evaluate(config, try_too)
    assert refused and "--work" in refused[0]
    assert evaluate(config) == first


def test_a_folder_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(work)], env=environment(), stdout=subprocess.PIPE,
                          text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="another evaluation"), opened(work):
            pass
        holder.kill()
        holder.wait()
    with opened(work):
        assert work.stat().st_mode & 0o77 == 0


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"), opened(tmp_path / "work"):
        pass


@pytest.mark.parametrize(("src", "dst", "work"), [
    ("a", "a", "a"), ("a", "a", "a/w"), ("a/w", "a/w", "a"), ("a", "b", "b/w"), ("a", "b", "a/w"), ("a", "b", "b"),
    ("a", "b/c", "b"), ("a", "a/b", "w")])
def test_folders_in_one_another_are_refused(tmp_path: Path, src: str, dst: str, work: str) -> None:
    """Vectors and copies would be written into the originals, or into what is published."""
    before, after, private = (tmp_path / name for name in (src, dst, work))
    save(before / "a.png", drawn_photo())
    save(after / "a.png", drawn_photo())
    files = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError):
        check_apart(before, after, private)
    with pytest.raises(UsageError):
        evaluate(EvaluationConfig(before, after, private, baselines=(), judges=("dlib",)))
    done = CliRunner().invoke(app, ["attack", "layers", str(before), str(after), "--work", str(private)])
    assert isinstance(done.exception, UsageError) and "nobody is named" not in done.exception.message
    assert sorted(tmp_path.rglob("*")) == files


@pytest.mark.parametrize(("src", "dst"), [("a", "a"), ("a", "b")])
def test_folders_beside_one_another_are_not_refused(tmp_path: Path, src: str, dst: str) -> None:
    for name in {src, dst}:
        save(tmp_path / name / "a.png", drawn_photo())
    check_apart(tmp_path / src, tmp_path / dst, tmp_path / "work")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="no folder of an evaluation"), opened(tmp_path / "photos"):
        pytest.fail("must not open")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.png"]
