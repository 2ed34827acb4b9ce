from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from helpers import fake_run
from helpers.fake_run import ANNA, STUBBORN, album, photos_in, save, squares
from mien.cli import app as cli
from mien.errors import ModelError
from mien.jobs.progress import Progress
from mien.report.terminal import Reporter


@dataclass
class Ended:
    code: int
    out: str
    err: str


Program = Callable[..., Ended]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Program]:
    """`mien` within this process: exit code and what it printed."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mien", *map(os.fspath, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
            sys.exit(0)
        printed = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return save(tmp_path / "src" / "a.png", squares(ANNA)).parent


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test when networks are loaded: what is wrong with the arguments has to be said before."""
    monkeypatch.setattr("mien.anonymizer.load.prepare", lambda *_: pytest.fail("the arguments were not checked first"))


@pytest.mark.parametrize("arguments", [
    ["--no-such-option"], ["--steps", "many"], ["--pool-size", "1.5"], ["one too many"],
])
def test_what_the_command_line_cannot_mean_ends_with_2(
    program: Program, early: None, src: Path, tmp_path: Path, arguments: list[str]
) -> None:
    ended = program("anonymize", src, tmp_path / "dst", *arguments)
    assert ended.code == 2 and "Usage" in ended.err and not (tmp_path / "dst").exists()


@pytest.mark.parametrize(("arguments", "words"), [
    (["--recipe", "no such.toml"], "there is no recipe 'no such.toml'"),
    (["--steps", "0"], "optimize.steps"),
    (["--margin", "2"], "optimize.margin"),
    (["--pool-size", "5"], "pool.size"),
    (["--batch", "0"], "batch"),
    (["--on-failure", "banana"], "on_failure"),
    (["--identity", "per-family"], "identity"),
    (["--detector", "mtcnn"], "detect.network"),
    (["--identity", "per-person"], "needs a secret key"),
    (["--key-file", "no such key"], "cannot read the key"),
    (["--key-file", "short"], "too short"),
    (["--key-file", "."], "cannot read the key"),
    (["--recipe", "wrong.toml"], "optimize.steps"),
    (["--recipe", "unknown.toml"], "color"),
    (["--recipe", "broken.toml"], "is not TOML"),
    (["--work", "src/w"], "WORK lies inside SRC"),
])
def test_wrong_arguments_end_with_2_before_anything_is_loaded(
    program: Program, early: None, src: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short").write_bytes(b"123")
    Path("wrong.toml").write_text("[optimize]\nsteps = -1\n")
    Path("unknown.toml").write_text('color = "blue"\n')
    Path("broken.toml").write_text("[optimize\n")
    before = sorted(tmp_path.rglob("*"))
    ended = program("anonymize", src, tmp_path / "dst", *arguments)
    assert ended.code == 2 and ended.out == ""
    assert ended.err.startswith("mien: ") and words in ended.err and "Traceback" not in ended.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", ["--only", "--except", "--keep-person", "--labels"])
def test_lists_that_are_not_there_end_with_2(brush: None, program: Program, src: Path, tmp_path: Path,
                                             option: str) -> None:
    ended = program("anonymize", src, tmp_path / "dst", option, tmp_path / "missing")
    assert ended.code == 2 and "missing" in ended.err and "Traceback" not in ended.err
    assert not (tmp_path / "dst").exists()


def test_without_source_it_ends_with_2(program: Program, early: None, tmp_path: Path) -> None:
    ended = program("anonymize", tmp_path / "src", tmp_path / "dst")
    assert (ended.code, ended.err.splitlines()[0]) == (2, f"mien: {tmp_path}/src does not exist")
    assert "give a folder of photographs" in ended.err


def test_weights_that_cannot_be_had_end_with_3(program: Program, src: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    ended = program("anonymize", src, tmp_path / "dst", "--quiet")
    assert ended.code == 3 and ended.err.startswith("mien: ") and "Traceback" not in ended.err
    assert not (tmp_path / "dst").exists()


def test_a_detector_that_was_not_imported_ends_with_3(program: Program, src: Path, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    ended = program("anonymize", src, tmp_path / "dst", "--detector", "s3fd")
    assert ended.code == 3 and ended.out == ""
    assert "not there: s3fd (s3fd-619a316812.pth" in ended.err and "mien models import FILE..." in ended.err
    assert not (tmp_path / "dst").exists()


def test_a_stop_that_was_taken_for_damage_is_a_stop(program: Program, src: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """As by who reads a file and makes an error of his own of whatever comes."""
    def read(*_: Any, **__: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise ModelError("a file is damaged") from error

    monkeypatch.setattr("mien.anonymizer.load.prepare", read)
    ended = program("anonymize", src, tmp_path / "dst")
    assert ended.code == 143 and ended.err == "mien: stopped; run the same command again to go on\n"


def test_damaged_weights_end_with_3(program: Program, src: Path, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any) -> None:
        raise ModelError("the weights of sface are damaged", "run: mien models fetch sface")

    monkeypatch.setattr("mien.anonymizer.load.prepare", damaged)
    ended = program("anonymize", src, tmp_path / "dst")
    assert ended.code == 3
    assert ended.err == "mien: the weights of sface are damaged\n      run: mien models fetch sface\n"


def test_a_folder_that_is_in_use_ends_with_4(brush: None, program: Program, src: Path,
                                             tmp_path: Path) -> None:
    save(tmp_path / "dst" / "mine.png", squares(ANNA))
    ended = program("anonymize", src, tmp_path / "dst")
    assert ended.code == 4 and f"mien: {tmp_path}/dst is not empty" in ended.err
    assert list(photos_in(tmp_path / "dst")) == ["mine.png"]


def test_a_face_that_fails_ends_with_5_where_the_owner_wants_it(brush: None, program: Program,
                                                                tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(STUBBORN))
    ended = program("anonymize", tmp_path / "src", tmp_path / "dst", "--on-failure", "error")
    assert ended.code == 5 and "mien: a.png: face 0 could not be anonymized" in ended.err
    assert "--on-failure blur" in ended.err and "Traceback" not in ended.err
    assert photos_in(tmp_path / "dst") == {}


def test_other_arguments_for_the_same_folders_end_with_2(brush: None, program: Program, src: Path,
                                                         tmp_path: Path) -> None:
    assert program("anonymize", src, tmp_path / "dst").code == 0
    ended = program("anonymize", src, tmp_path / "dst", "--seed", "7")
    assert ended.code == 2 and "belongs to a run with another recipe" in ended.err
    assert program("anonymize", src, tmp_path / "dst").code == 0


def test_a_run_in_which_nothing_could_be_read_ends_with_1(brush: None, program: Program,
                                                          tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.png").write_text("no picture")
    for quiet in ([], ["--quiet"]):  # which lists nothing: the message has to say why by itself
        ended = program("anonymize", tmp_path / "src", tmp_path / "dst", *quiet)
        assert ended.code == 1 and "no photograph could be read: a.png: not an image" in ended.err
        assert f"mien.json in {tmp_path / 'dst'}" in ended.err


def test_a_run_whose_photos_were_all_dropped_did_what_it_was_asked(brush: None, program: Program,
                                                                   tmp_path: Path) -> None:
    save(tmp_path / "src" / "a.png", squares(STUBBORN))
    ended = program("anonymize", tmp_path / "src", tmp_path / "dst", "--on-failure", "drop")
    assert ended.code == 0 and "skipped a.png: dropped: a face could not be anonymized" in ended.err


def test_a_run_in_a_log_tells_in_plain_lines(brush: None, program: Program, tmp_path: Path) -> None:
    src = album(tmp_path / "src", 5)
    (src / "b.png").write_text("no picture")
    ended = program("anonymize", src, tmp_path / "dst")
    assert ended.code == 0 and ended.out == "" and "\x1b" not in ended.err and "\r" not in ended.err
    assert "photos: 6/6, 7 faces" in ended.err
    lines = [line.split("│") for line in ended.err.splitlines() if "│" in line]
    table = {line[1].strip(): line[2].strip() for line in lines}
    assert table["photos written"] == "5" and table["faces found"] == "7" and table["photos skipped"] == "1"
    assert table["anonymized"] == "6" and table["blurred"] == "1"
    assert "1 x still verifies as the original" in ended.err
    assert "skipped b.png: not an image in a supported format" in ended.err


def test_a_quiet_run_says_nothing(brush: None, program: Program, tmp_path: Path) -> None:
    src = album(tmp_path / "src", 5)
    (src / "b.png").write_text("no picture")
    for _ in range(2):
        ended = program("anonymize", src, tmp_path / "dst", "--quiet")
        assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_names_are_not_taken_for_markup(brush: None, program: Program, tmp_path: Path) -> None:
    src = save(tmp_path / "src" / "[red]a.png", squares(ANNA)).parent
    (src / "[b].png").write_text("no picture")
    dst = tmp_path / "[b]out[" / "red]"
    ended = program("anonymize", src, dst, "--with-originals")
    assert ended.code == 0, ended.err
    said = ended.err.replace("\n", "")
    assert "skipped [b].png: " in said and "[b]out[/red]" in said


def test_the_report_and_what_stays_private(brush: None, program: Program, src: Path, tmp_path: Path) -> None:
    dst, work = tmp_path / "dst", tmp_path / "private"
    assert program("anonymize", src, dst, "--work", work, "--with-originals").code == 0
    assert {path.name for path in dst.iterdir()} == {"a.png", "mien.parquet", "mien.json", "report.html"}
    assert stat.S_IMODE(work.stat().st_mode) == 0o700 and (work / "report.html").exists()
    public = (dst / "report.html").read_text()
    assert "data:image" not in public and str(tmp_path) not in public
    ended = program("report", dst, "--out", tmp_path / "again.html")
    assert ended.code == 0 and ended.out.strip() == str(tmp_path / "again.html")


def test_a_run_can_be_forgotten(brush: None, program: Program, src: Path, tmp_path: Path) -> None:
    assert program("anonymize", src, tmp_path / "dst", "--forget").code == 0
    assert not (tmp_path / "dst.work").exists() and (tmp_path / "dst" / "report.html").exists()
    ended = program("anonymize", src, tmp_path / "dst")
    assert ended.code == 4 and "holds no run that could go on" in ended.err


HEAVY = ["torch", "numpy", "cv2", "pyarrow", "PIL", "safetensors", "onnx", "jinja2"]
LOADED = f"""
import sys
from mien.cli.app import main
sys.argv = ["mien", *sys.argv[1:]]
try:
    main()
finally:
    print("loaded:", *[name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", [["--help"], ["anonymize", "--help"], ["models", "list"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    result = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True,
                            timeout=900, env=fake_run.environment())
    assert result.returncode == 0, result.stderr
    assert result.stdout.rstrip().endswith("loaded:")


def test_python_m_mien_is_the_program() -> None:
    result = fake_run.call("--help", quick=False)
    assert result.returncode == 0 and "anonymize" in result.stdout
    assert fake_run.call("nonsense", quick=False).returncode == 2


def test_a_terminal_gets_a_bar() -> None:
    screen = io.StringIO()
    reporter = Reporter(False, Console(file=screen, force_terminal=True, width=100))
    with reporter.run() as listen:
        listen(Progress("photos indexed", 3, 3, 0, 0))
        listen(Progress("photos", 1, 3, 2, 2))
        listen(Progress("photos", 3, 3, 4, 4))
    assert "photos indexed" in screen.getvalue() and "4 faces" in screen.getvalue()


def test_a_log_gets_lines_whose_time_left_is_that_of_this_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mien.report.terminal.time.monotonic", lambda: now)
    log = io.StringIO()
    with Reporter(False, Console(file=log, width=100)).run() as listen:
        listen(Progress("photos", 90, 100, 90, 0))  # from an earlier call
        now = 60.0
        listen(Progress("photos", 95, 100, 95, 5))
        now = 61.0
        listen(Progress("photos", 96, 100, 96, 6))  # too soon for another line
    first, second = log.getvalue().splitlines()
    assert "90/100" in first and "left" not in first
    assert "95/100" in second and second.endswith("about 60 s left")
