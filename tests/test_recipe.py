from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from mien.errors import UsageError
from mien.recipe import PRESETS, OptimizeSettings, Recipe


def leaves(model: BaseModel, prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted name and value of every setting."""
    found: list[tuple[str, Any]] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        found += leaves(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [(f"{prefix}{name}", value)]
    return found


def table_of(dotted: str) -> tuple[type[BaseModel], str]:
    *tables, last = dotted.split(".")
    model: type[BaseModel] = Recipe
    for name in tables:
        model = type(getattr(Recipe(), name))
    return model, last


def bounds() -> list[tuple[str, float]]:
    """Every setting with a bound, and a value just beyond it."""
    found = []
    for dotted, value in leaves(Recipe()):
        model, last = table_of(dotted)
        step = 1 if isinstance(value, int) else 1e-6
        for rule in model.model_fields[last].metadata:
            for name, sign, beyond in (("ge", -1, step), ("gt", -1, 0), ("le", 1, step), ("lt", 1, 0)):
                if (bound := getattr(rule, name, None)) is not None:
                    found.append((dotted, bound + sign * beyond))
    return found


def toml(model: BaseModel) -> str:
    """The settings as TOML, tables last."""
    lines, tables = [], []
    for name, value in model.model_dump(mode="json").items():
        if isinstance(value, dict):
            tables += [f"[{name}]", *(f"{key} = {json.dumps(inner)}" for key, inner in value.items())]
        else:
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join([*lines, *tables])


def other(value: Any) -> Any:
    """Another value that is as good."""
    choices: dict[Any, Any] = {
        "per-photo": "per-person", "blur": "drop", "default": "mine", "mobile": "falco", "auto": "farl",
        "mien": "published", "w+": "s", "attributes": "cosine", "float32": "bfloat16", "yunet": "s3fd",
        "mirrored": "published", "whitened": "w", "drawn": "unlike", 128: 256, 256: 128}
    if value is None:
        return 5
    if isinstance(value, str) or value in (128, 256):
        return choices[value]
    if isinstance(value, tuple):
        return value[1:]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 0.9 + 0.007


NAMES = [name for name, _ in leaves(Recipe())]


def test_every_number_has_a_bound() -> None:
    numbers = {name for name, value in leaves(Recipe())
               if not isinstance(value, str | tuple | bool) and name not in ("invert.size", "optimize.size")}
    assert {name for name, _ in bounds()} == numbers


@pytest.mark.parametrize(("name", "value"), bounds())
def test_a_value_out_of_range_is_refused_by_name(name: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{name}: "):
        Recipe().with_changes({name: value})
    table, _, last = name.rpartition(".")
    file = tmp_path / "bad.toml"
    file.write_text(f"[{table}]\n{last} = {value!r}\n" if table else f"{last} = {value!r}\n")
    with pytest.raises(UsageError, match=f"recipe .*bad.toml: {name}: "):
        Recipe.load(str(file))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "name"])
@pytest.mark.parametrize("value", [float("nan"), [], {"deep": 1}, "word"])
def test_a_value_of_another_kind_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"^{name}"):
        Recipe().with_changes({name: value})


def test_infinity_is_refused() -> None:
    for name, value in leaves(Recipe()):
        if isinstance(value, float):
            with pytest.raises(UsageError, match=f"^{name}: "):
                Recipe().with_changes({name: float("inf")})


@pytest.mark.parametrize("text", ["unknown = 1", "[optimize]\nmargins = 0.1", "[unknown]\nsteps = 3"])
def test_an_unknown_key_is_refused_by_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"unknown|optimize\.margins"):
        Recipe.load(str(file))


def test_layers_have_to_be_in_order() -> None:
    for layers in ((9, 8), (3, 3), (), (-1, 2), (17, 18)):
        with pytest.raises(UsageError, match="in rising order"):
            Recipe().with_changes({"optimize.layers": layers})
    assert Recipe().with_changes({"optimize.layers": [2, 8, 17]}).optimize.layers == (2, 8, 17)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load_under_their_names(preset: str) -> None:
    recipe = Recipe.load(preset)
    assert recipe.name == preset
    assert recipe.verify.threshold == Recipe().verify.threshold  # no preset judges more mildly


def test_the_reference_finds_and_aligns_faces_as_published_and_the_others_as_mien_does() -> None:
    for preset in PRESETS:
        detect = Recipe.load(preset).detect
        published = preset == "falco-reference"
        assert (detect.network, detect.alignment) == (("s3fd", "published") if published else ("yunet", "mirrored"))
        assert detect.score == (0.5 if published else 0.6)


def test_the_default_preset_is_the_defaults() -> None:
    assert Recipe.load("default") == Recipe()


def test_fast_takes_fewer_steps() -> None:
    fast, default = Recipe.load("fast"), Recipe.load("default")
    assert fast.optimize.steps <= default.optimize.steps / 2 and fast.verify.attempts < default.verify.attempts
    assert fast.hash != default.hash


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_changes_with_every_setting(name: str) -> None:
    value = dict(leaves(Recipe()))[name]
    wanted = "float32" if name == "precision" else other(value)
    first = Recipe().with_changes({"optimize.size": 256}) if name == "optimize.method" else Recipe()
    changed = first.with_changes({name: wanted})
    assert dict(leaves(changed))[name] == wanted
    assert changed.hash != first.hash
    if value is not None:  # None stands for no change
        assert changed.with_changes({name: value}).hash == first.hash


def test_the_hash_is_short_hexadecimal_and_stays() -> None:
    assert Recipe().hash == Recipe.load("default").hash
    assert len(Recipe().hash) == 16 and int(Recipe().hash, 16) >= 0


@given(seed=st.integers(0, 2**63 - 1), margin=st.floats(-1, 1), rate=st.floats(1e-9, 1e9),
       steps=st.integers(1, 2000))
@settings(max_examples=30, deadline=None)
def test_toml_round_trip(seed: int, margin: float, rate: float, steps: int, tmp_path_factory: Any) -> None:
    recipe = Recipe().with_changes({"seed": seed, "optimize.margin": margin, "invert.rate": rate,
                                    "invert.steps": steps, "name": "mine"})
    text = toml(recipe)
    assert Recipe(**tomllib.loads(text)) == recipe
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(text)
    assert Recipe.load(str(file)).hash == recipe.hash
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_changes_of_none_are_left_out() -> None:
    assert Recipe().with_changes({"optimize.margin": None, "seed": None}) == Recipe()
    changed = Recipe().with_changes({"optimize.margin": 0.1, "seed": None})
    assert changed.optimize.margin == 0.1 and changed.seed is None
    assert Recipe().with_changes({"seed": 3}).with_changes({"seed": None}).seed == 3


@pytest.mark.parametrize("name", ["unknown.margin", "optimize.margin.deep", "seed.x", "optimize.unknown"])
def test_changes_of_what_is_not_there_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        Recipe().with_changes({name: 1})


def test_changes_leave_the_original_alone() -> None:
    recipe = Recipe()
    recipe.with_changes({"optimize.margin": 0.1})
    assert recipe == Recipe()
    with pytest.raises(ValidationError):
        recipe.seed = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Recipe().optimize.margin = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("name", ["missing", "missing.toml", "", "/dev/null/x", "default.toml", "Default"])
def test_a_recipe_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe.load(name)
    assert "default, fast" in caught.value.hint


def test_what_is_not_toml_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("steps: 3")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not TOML"):
        Recipe.load(str(tmp_path / "a.toml"))
    with pytest.raises(UsageError):
        Recipe.load(str(tmp_path / "b.toml"))


def test_a_partial_file_keeps_the_other_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\n[optimize]\nmargin = 0.2\n')
    assert Recipe.load(str(file)) == Recipe(name="mine", optimize=OptimizeSettings(margin=0.2))


def test_fields_are_set_from_words() -> None:
    changed = Recipe().with_settings(["pair.distance = cosine", "optimize.layers=[4, 5]", "pool.size=100", "name='a b'",
                                      "pair.unique=false"])
    assert (changed.pair.distance, changed.optimize.layers, changed.pool.size) == ("cosine", (4, 5), 100)
    assert (changed.name, changed.pair.unique) == ("a b", False)
    assert Recipe().with_settings([]) == Recipe()


@pytest.mark.parametrize("setting, words", [
    ("pool.size", "KEY=VALUE"), ("pool.size=many", "pool.size"), ("pool.color=3", "pool.color"),
    ("=3", "unknown recipe field ''"),
    ("nowhere.size=3", "no table 'nowhere'"), ("pool=3", "pool"), ("optimize.layers=[5, 4]", "rising order"),
])
def test_settings_that_mean_nothing_are_named(setting: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Recipe().with_settings([setting])


@pytest.mark.parametrize(("field", "words"), [
    ("optimize.margn", "unknown recipe field optimize.margn; did you mean optimize.margin?"),
    ("pair.colour_weight", "unknown recipe field pair.colour_weight; did you mean pair.color_weight?"),
    ("sede", "unknown recipe field sede; did you mean seed?"),
    ("pair.zzzzzz", "unknown recipe field pair.zzzzzz"),
    ("optimise.margin", "a recipe has no table 'optimise': optimise.margin; did you mean optimize.margin?")])
def test_an_unknown_field_is_named_with_the_one_that_was_meant(tmp_path: Path, field: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe().with_settings([f"{field}=1"])
    assert "; ".join(filter(None, (caught.value.message, caught.value.hint))) == words
    table, _, name = field.rpartition(".")
    (tmp_path / "my.toml").write_text(f"[{table}]\n{name} = 1\n" if table else f"{name} = 1\n")
    with pytest.raises(UsageError, match="unknown recipe field") as caught:
        Recipe.load(str(tmp_path / "my.toml"))
    assert field.partition(".")[0] in caught.value.message
