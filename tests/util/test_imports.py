"""Importing mien is innocent, and works on Windows: no module changes the process, or needs what Unix alone has."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import mien

LIGHT = ("mien.datasets", "mien.images", "mien.util", "mien.errors", "mien.recipe", "mien.types")
OPENCV = "cv2"  # which sets LD_LIBRARY_PATH for itself while it is loaded: imported before the modules that need it
MODULES = ["mien", *sorted(one.name for one in pkgutil.walk_packages(mien.__path__, "mien.")
                           if one.name != "mien.__main__")]
SCRIPT = """
import builtins, importlib, json, logging, os, sys, traceback
import PIL.Image, PIL.ImageFile

UNIX = {"fcntl", "resource", "pwd", "grp", "termios"}
really = builtins.__import__


def refuse(name, globals=None, locals=None, fromlist=(), level=0):
    importer = str((globals or {}).get("__name__", ""))
    if level == 0 and name.partition(".")[0] in UNIX and importer.partition(".")[0] == "mien":
        raise ModuleNotFoundError(f"{importer} imports {name}, which Windows does not have", name=name)
    return really(name, globals, locals, fromlist, level)


def state():
    return {"environment": dict(os.environ), "Image.MAX_IMAGE_PIXELS": PIL.Image.MAX_IMAGE_PIXELS,
            "ImageFile.LOAD_TRUNCATED_IMAGES": PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
            "ImageFile.MAXBLOCK": PIL.ImageFile.MAXBLOCK, "Image.OPEN": sorted(PIL.Image.OPEN),
            "Image.SAVE": sorted(PIL.Image.SAVE), "PIL's log": len(logging.getLogger("PIL").handlers)}


builtins.__import__ = refuse
found = {}
for name in sys.argv[1:]:
    before, loaded = state(), set(sys.modules)
    try:
        importlib.import_module(name)
    except BaseException:
        found[name] = traceback.format_exc()
        continue
    after = state()
    own = sorted(one for one in set(sys.modules) - loaded if one.partition(".")[0] == "mien")
    changed = {what: [before[what], after[what]] for what in before if before[what] != after[what]}
    found[name] = f"{list(changed)} changed by one of {own}" if changed else ""
print(json.dumps(found))
"""


def imported(*names: str, path: Path = Path(mien.__file__).parents[1]) -> dict[str, str]:
    """What is wrong with the import of each module, imported one after another in one new process."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"PYTHONPATH": str(path)})
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    light = [name for name in MODULES if name == "mien" or name.startswith(LIGHT)]
    return imported(*light, OPENCV, *(name for name in MODULES if name not in light))


@pytest.mark.parametrize("name", MODULES)
def test_importing_changes_nothing_and_works_on_windows(found: dict[str, str], name: str) -> None:
    assert not found[name], found[name]


@pytest.mark.parametrize(("text", "words"), [
    ("import fcntl", "Windows does not have"),
    ("from resource import getrlimit", "Windows does not have"),
    ("import os\nos.environ['A'] = '1'", "environment"),
    ("from PIL import Image\nImage.MAX_IMAGE_PIXELS = 1", "MAX_IMAGE_PIXELS"),
    ("from PIL import ImageFile\nImageFile.LOAD_TRUNCATED_IMAGES = True", "LOAD_TRUNCATED_IMAGES"),
    ("from PIL import Image\nImage.init()", "Image.OPEN"),
    ("import logging\nlogging.getLogger('PIL').addHandler(logging.NullHandler())", "PIL's log")])
def test_what_a_module_does_when_it_is_imported_is_noticed(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mien").mkdir()
    (tmp_path / "mien" / "__init__.py").touch()
    (tmp_path / "mien" / "innocent.py").write_text("import tempfile, multiprocessing")  # may need fcntl themselves
    (tmp_path / "mien" / "guilty.py").write_text(text)
    found = imported("mien", "mien.innocent", "mien.guilty", path=tmp_path)
    assert not found["mien"] and not found["mien.innocent"] and words in found["mien.guilty"]
