"""Configurations: one text form, one checked form, and what decides a run."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapse_lab.train.config import Config, load_config, make_config
from collapse_lab.train.nested import merged, to_toml

plain = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8"))
)
values = st.one_of(plain, st.lists(st.integers(), max_size=3), st.lists(st.text('ab"\\\n', max_size=3), max_size=3))
names = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)


@given(
    st.dictionaries(names, st.one_of(values, st.dictionaries(names, st.one_of(values, st.dictionaries(names, values)))))
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_nested_values_come_back_from_toml(nested):
    assert tomllib.loads(to_toml(nested)) == nested


def test_a_configuration_comes_back_from_its_file(tmp_path):
    config = make_config({"seed": 3, "model": {"response": "grn", "layer_scale": 1e-6}, "save": {"at": [1, 20]}})
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config.model_dump(mode="json")))
    assert load_config(path) == config


def test_overrides_are_read_as_toml_else_as_text(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[optim]\nlr = 0.1\nwarmup = 5\n")
    overrides = [
        "optim.lr=1e-3",
        "data.uri=./my images",
        "objective.norm_pix=false",
        "save.at=[1, 2]",
        "model.layer_scale=none",
    ]
    config = load_config(path, overrides)
    assert (config.optim.lr, config.optim.warmup, config.data.uri) == (1e-3, 5, "./my images")
    assert (config.objective.norm_pix, config.save.at, config.model.layer_scale) == (False, (1, 2), "none")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", r"unknown key 'optim.lrr'; did you mean 'lr'\?"),
        ("stepz=1", r"unknown key 'stepz'; did you mean 'steps'\?"),
        ("modle.name=x", r"unknown key 'modle'; did you mean 'model'\?"),
        ("optim.lr=fast", r"optim.lr = 'fast': expected a number, got a text"),
        ("optim.lr=true", r"optim.lr = True: expected a number, got true or false"),
        ("steps=true", r"steps = True: expected a whole number, got true or false"),
        ("seed='5'", r"seed = '5': expected a whole number, got a text"),
        ("data.flip=1", r"data.flip = 1: expected true or false, got a whole number"),
        ("data.mean=[true, 0, 0]", r"data.mean = \[True, 0, 0\]: expected a number, got true or false"),
        ("model.layer_scale=true", r"model.layer_scale = True: expected a number or a text, got true or false"),
        ("model.name=5", r"model.name = 5: expected a text, got a whole number"),
        ("objective=supervised", r"objective = 'supervised': expected a section of its own; say .* objective.name"),
        ("optim.lr=nan", r"optim.lr = nan"),
        ("optim.betas=[0.9, 1.0]", r"optim.betas.1 = 1.0: input should be less than 1"),
        ("data.std=[0, 1, 1]", r"data.std.0 = 0: input should be greater than 0"),
        ("steps=0", r"steps = 0: input should be greater than or equal to 1"),
        (
            "data.crop=[1, 0.2]",
            r"data.crop = \[1, 0.2\]: expected \[least, largest\] between 0 and 1, ascending, or 'none'",
        ),
        ("data.crop=0.2", r"data.crop = 0.2: expected \[least, largest\]"),
        ("data.crop=[0, 1]", r"data.crop = \[0, 1\]"),
        ("data.ratio=none", r"data.ratio = 'none': .*between 0.1 and 10, ascending"),
        ("steps", r"--set takes name=value"),
        ("seed.x=1", r"seed = \{'x': 1\}: input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(override, message):
    with pytest.raises(ValueError, match=message):
        load_config(None, [override])


def test_a_value_has_no_keys_of_its_own(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("seed = 1\n")
    with pytest.raises(ValueError, match="seed is a value, not a section"):
        load_config(path, ["seed.x=1"])


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no configuration file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(ValueError, match=r"bad.toml is not TOML"):
        load_config(tmp_path / "bad.toml")


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().steps = 3


@pytest.mark.parametrize(
    "changes",
    [
        {"out": "elsewhere"},
        {"device": "cuda"},
        {"threads": 2},
        {"log_every": 1},
        {"save": {"every": 7, "keep": 9, "at": [4]}},
        {"data": {"uri": "./moved"}},
    ],
)
def test_identity_leaves_out_what_does_not_decide_the_weights(changes):
    assert make_config(changes).identity() == Config().identity()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"steps": 301},
        {"model": {"response": "grn"}},
        {"objective": {"init": "official"}},
        {"data": {"batch": 64}},
        {"data": {"std": [1, 1, 1]}},
        {"data": {"crop": [0.2, 1]}},
        {"data": {"flip": True}},
        {"optim": {"weight_decay": 0}},
    ],
)
def test_identity_holds_what_decides_the_weights(changes):
    assert make_config(changes).identity() != Config().identity()


def test_changes_are_laid_over_nested_values():
    assert merged({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}, "e": 5}) == {"a": 1, "b": {"c": 4, "d": 3}, "e": 5}
