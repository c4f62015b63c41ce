"""Recipes: each says where it comes from, is what its source says, and builds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

from collapse_lab.models.convnext import SIZES
from collapse_lab.train.build import build
from collapse_lab.train.config import Config, load_config
from collapse_lab.train.recipe import FOLDER, about, read_recipe, recipes
from collapse_lab.train.resolve import Resolved, resolve

IMAGENET = {"images": 1281167, "classes": 1000}
NAMES = list(recipes())
V2 = ("atto", "femto", "pico", "nano", "tiny", "base", "large", "huge")


def config_of(name: str) -> Config:
    return load_config(Path(name))


def resolved(name: str) -> Resolved:
    return resolve(config_of(name), **IMAGENET)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_opens_with_what_source_command_and_result(name):
    said = about(recipes()[name])
    assert re.findall(r"^(\w+)  ", said, re.MULTILINE) == ["What", "Source", "Command", "Reported"]
    (command,) = re.findall(r"^Command +(.*)", said, re.MULTILINE)
    assert command.startswith(f"collapse-lab train -c {name} ")
    config = config_of(name)
    assert ("data.uri=" in command) == (config.data.uri != "digits")
    assert ("init_from=" in command) == (config.init_from is not None)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_builds_and_takes_images_of_its_size(name):
    config = resolved(name)
    with torch.device("meta"), torch.no_grad():
        objective = build(config.model, config.objective, config.seed).eval()
        pixels = torch.zeros(2, 3, config.data.size, config.data.size)
        assert objective(pixels, torch.zeros(2, dtype=torch.long)).loss.shape == ()
    assert SIZES[config.model.name].published or config.data.size == config.data.size // 8 * 8


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_needs_images_and_a_start_that_are_said_or_come_with_the_package(name):
    config = config_of(name)
    assert config.data.uri == "digits" or not Path(config.data.uri).exists()
    fine_tunes = "_finetune" in name
    assert (config.init_from is not None) == fine_tunes
    assert config.model.head_init_scale == (0.001 if fine_tunes else 1.0)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("convnext")])
def test_small_recipes_need_no_extra(name):
    assert config_of(name).data.randaugment == 0


@pytest.mark.parametrize("size", V2)
def test_pre_training_is_table_8_for_every_size(size):
    config = resolved(f"convnextv2_{size}_fcmae")
    assert config.model.name == f"convnextv2_{size}"
    assert config_of(f"convnextv2_{size}_fcmae").epochs == 800
    assert (config.data.batch, config.data.size, config.data.crop, config.data.flip) == (4096, 224, (0.2, 1.0), True)
    assert config.optim.lr == pytest.approx(1.5e-4 * 16)
    assert (config.optim.betas, config.optim.weight_decay, config.optim.min_lr) == ((0.9, 0.95), 0.05, 0)
    assert config.optim.warmup == round(40 * 1281167 / 4096)
    assert (config.optim.ema, config.optim.layer_decay, config.model.drop_path) == (0, 1, 0)
    assert config.objective.model_dump() == {
        "name": "fcmae",
        "mask_ratio": 0.6,
        "decoder_dim": 512,
        "decoder_depth": 1,
        "norm_pix": True,
        "init": "ours",
        "convolution": "sparse",
        "decoder": "convnext",
    }


# epochs, warm-up, base rate, weight decay, layer decay, layers, smoothing, mixup, cutmix, drop path
FINE_TUNING = {
    "atto": (600, 0, 2e-4, 0.3, 0.9, "single", 0.2, 0.0, 0.0, 0.1),
    "femto": (600, 0, 2e-4, 0.05, 0.9, "single", 0.2, 0.3, 0.3, 0.0),
    "pico": (600, 0, 2e-4, 0.3, 0.9, "single", 0.2, 0.3, 0.3, 0.0),
    "nano": (600, 0, 2e-4, 0.3, 0.9, "single", 0.2, 0.5, 0.5, 0.1),
    "tiny": (300, 40, 8e-4, 0.05, 0.9, "single", 0.1, 0.8, 1.0, 0.2),
    "base": (100, 20, 6.25e-4, 0.05, 0.6, "grouped", 0.1, 0.8, 1.0, 0.1),
    "large": (100, 20, 6.25e-4, 0.05, 0.6, "grouped", 0.1, 0.8, 1.0, 0.2),
    "huge": (50, 10, 1.25e-3, 0.05, 0.75, "grouped", 0.1, 0.8, 1.0, 0.3),
}
TO_22K = {
    "nano": (90, 5, 2.5e-4, 0.05, 0.9, "single", 0.1, 0.8, 1.0, 0.0),
    "tiny": (90, 5, 2.5e-4, 0.05, 0.9, "single", 0.1, 0.8, 1.0, 0.0),
    "base": (90, 5, 2.5e-4, 0.05, 0.8, "grouped", 0.1, 0.8, 1.0, 0.1),
    "large": (90, 5, 2.5e-4, 0.05, 0.8, "grouped", 0.1, 0.8, 1.0, 0.1),
    "huge": (90, 5, 2.5e-4, 0.05, 0.8, "grouped", 0.1, 0.8, 1.0, 0.3),
}
FROM_22K = {
    "nano": (90, 0, 2.5e-5, 1e-8, 0.9, "single", 0.1, 0.0, 0.0, 0.1),
    "tiny": (90, 0, 2.5e-5, 1e-8, 0.9, "single", 0.1, 0.0, 0.0, 0.1),
    "base": (30, 0, 2.5e-5, 1e-8, 0.8, "grouped", 0.1, 0.0, 0.0, 0.2),
    "large": (30, 0, 2.5e-5, 1e-8, 0.8, "grouped", 0.1, 0.0, 0.0, 0.3),
    "huge": (30, 0, 2.5e-5, 1e-8, 0.85, "grouped", 0.1, 0.0, 0.0, 0.5),
}


@pytest.mark.parametrize(
    ("kind", "batch", "table"),
    [("finetune", 1024, FINE_TUNING), ("finetune_22k", 4096, TO_22K), ("finetune_22k_1k", 512, FROM_22K)],
)
def test_fine_tuning_is_the_papers_tables(kind, batch, table):
    assert {name for name in NAMES if name.endswith(f"_{kind}") and name.startswith("convnextv2")} == {
        f"convnextv2_{size}_{kind}" for size in table
    }
    for size, expected in table.items():
        config = config_of(f"convnextv2_{size}_{kind}")
        optim, learned = config.optim, config.objective.model_dump()
        assert expected == (
            *(config.epochs, optim.warmup_epochs, optim.base_lr, optim.weight_decay, optim.layer_decay, optim.layers),
            *(learned["label_smoothing"], learned["mixup"], learned["cutmix"], config.model.drop_path),
        )
        assert (config.model.name, config.data.batch) == (f"convnextv2_{size}", batch)
        without = kind == "finetune_22k" or (kind == "finetune_22k_1k" and size == "huge")
        assert optim.ema == (0 if without else 0.9999)
        assert (optim.betas, config.data.randaugment, learned["erasing"]) == ((0.9, 0.999), 9, 0.25)


def test_supervised_training_has_v1s_own_settings():
    for size, drop_path in {"tiny": 0.1, "small": 0.4, "base": 0.5, "large": 0.5}.items():
        config = resolved(f"convnext_{size}_supervised")
        assert config.steps == -(-300 * 1281167 // 4096)
        assert (config.optim.lr, config.optim.weight_decay, config.optim.ema) == (4e-3, 0.05, 0.9999)
        assert (config.model.drop_path, config.optim.layer_decay) == (drop_path, 1)
    assert {f"convnextv2_{size}_supervised" for size in V2[:-1]} <= set(NAMES)


def test_a_base_is_no_recipe_and_has_no_base_of_its_own():
    bases = sorted((FOLDER / "bases").glob("*.toml"))
    assert bases
    for path in bases:
        assert path.stem not in NAMES
        assert "base" not in tomllib.loads(path.read_text())


def test_a_file_that_is_there_is_meant_before_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("digits_fcmae")).steps == 500
    Path("digits_fcmae").write_text("steps = 7\n")
    assert load_config(Path("digits_fcmae")).steps == 7


def test_a_file_of_ones_own_may_build_on_a_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "convnextv2_atto_fcmae"\nsteps = 10\n[objective]\ndecoder_dim = 64\n')
    values = read_recipe(path)
    assert "epochs" not in values
    assert (values["steps"], values["objective"]["decoder_dim"], values["objective"]["mask_ratio"]) == (10, 64, 0.6)
    assert values["model"]["name"] == "convnextv2_atto"


def test_what_is_no_recipe_is_named_with_the_nearest():
    with pytest.raises(LookupError, match="no recipe is called 'convnextv2_ato_fcmae'; did you mean 'convnextv2_atto"):
        load_config(Path("convnextv2_ato_fcmae"))
    with pytest.raises(FileNotFoundError, match=r"there is no configuration file my/recipe; .*list recipes"):
        load_config(Path("my/recipe"))
