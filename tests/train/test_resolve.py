"""What a configuration leaves open, once the images are known; and runs that are older than a key."""

from __future__ import annotations

import pytest

from collapse_lab.train.config import Config, load_config, make_config
from collapse_lab.train.resolve import as_recorded, completed, resolve

SUPERVISED = {"objective": {"name": "supervised"}}


@pytest.mark.parametrize(("batch", "lr"), [(256, 1.5e-4), (4096, 2.4e-3), (64, 3.75e-5)])
def test_a_base_rate_is_that_of_256_images(batch, lr):
    config = make_config({"data": {"batch": batch}, "optim": {"base_lr": 1.5e-4}})
    assert config.optim.lr is None
    assert resolve(config, images=1000, classes=0).optim.lr == pytest.approx(lr)


def test_epochs_become_the_steps_that_show_every_image_so_often():
    config = make_config({"epochs": 800, "data": {"batch": 4096}, "optim": {"warmup_epochs": 40}})
    resolved = resolve(config, images=1281167, classes=0)
    assert resolved.steps == 250228  # of 4096: 1281167 x 800 / 4096 = 250227.9
    assert resolved.optim.warmup == 12511
    assert (resolved.epochs, resolved.optim.warmup_epochs, resolved.optim.base_lr) == (None, None, None)
    assert resolve(make_config({"epochs": 0.001}), images=3, classes=0).steps == 1


def test_steps_rate_and_warm_up_have_defaults_where_neither_way_is_said():
    assert (Config().steps, Config().optim.lr, Config().optim.warmup) == (300, 1.5e-4, 0)
    resolved = resolve(Config(), images=7, classes=0)
    assert (resolved.steps, resolved.optim.lr, resolved.optim.warmup) == (300, 1.5e-4, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 3, "epochs": 1}, "steps and epochs say the same thing"),
        ({"optim": {"lr": 1, "base_lr": 1}}, "optim: lr and base_lr say the same thing"),
        ({"optim": {"warmup": 1, "warmup_epochs": 1}}, "optim: warmup and warmup_epochs say the same thing"),
    ],
)
def test_one_thing_said_in_two_ways_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        make_config(values)


def test_a_least_rate_above_the_peak_is_refused():
    with pytest.raises(ValueError, match=r"optim.min_lr = 0.01 lies above the peak 0.001"):
        resolve(make_config({"optim": {"lr": 1e-3, "min_lr": 1e-2}}), images=8, classes=0)


def test_values_as_they_are_need_not_look_like_toml(tmp_path):
    config = load_config(None, ["data.uri=left"], {"out": "2026-11-25", "data.uri": "5"})
    assert (config.out, config.data.uri) == ("2026-11-25", "5")


def test_naming_another_objective_drops_the_options_of_the_files_own(tmp_path):
    (tmp_path / "a.toml").write_text("[objective]\nmask_ratio = 0.5\ndecoder_dim = 8\n")
    config = load_config(tmp_path / "a.toml", ["objective.name=supervised", "objective.mixup=0.5"])
    assert (config.objective.name, config.objective.mixup) == ("supervised", 0.5)
    assert load_config(tmp_path / "a.toml", ["objective.name=fcmae"]).objective.decoder_dim == 8


def test_an_override_takes_the_place_of_the_other_way_in_the_file(tmp_path):
    (tmp_path / "a.toml").write_text("epochs = 5\n[optim]\nbase_lr = 1e-3\nwarmup = 7\n")
    config = load_config(tmp_path / "a.toml", ["steps=9", "optim.lr=0.5", "optim.warmup_epochs=2"])
    assert (config.steps, config.epochs) == (9, None)
    assert (config.optim.lr, config.optim.base_lr) == (0.5, None)
    assert (config.optim.warmup, config.optim.warmup_epochs) == (None, 2)
    with pytest.raises(ValueError, match="steps and epochs"):
        load_config(tmp_path / "a.toml", ["steps=9", "epochs=3"])


def test_a_head_has_the_classes_of_the_images_unless_it_says_more():
    assert resolve(make_config(SUPERVISED), images=9, classes=10).model.classes == 10
    assert resolve(make_config(SUPERVISED | {"model": {"classes": 12}}), images=9, classes=10).model.classes == 12
    with pytest.raises(ValueError, match=r"model.classes = 4, but the images have 10 classes"):
        resolve(make_config(SUPERVISED | {"model": {"classes": 4}}), images=9, classes=10)
    with pytest.raises(ValueError, match="these images have no classes"):
        resolve(make_config(SUPERVISED), images=9, classes=0)
    with pytest.raises(ValueError, match="the objective fcmae trains no head"):
        resolve(make_config({"model": {"classes": 4}}), images=9, classes=10)


def test_an_objective_has_its_own_keys_alone():
    with pytest.raises(ValueError, match=r"unknown key 'objective.mask_ratio'; .*there is: name, label_smoothing"):
        make_config({"objective": {"name": "supervised", "mask_ratio": 0.5}})
    with pytest.raises(ValueError, match=r"unknown key 'objective.mixup'; .*there is: name, mask_ratio"):
        make_config({"objective": {"mixup": 0.5}})
    with pytest.raises(ValueError, match=r"objective.label_smoothing = 1: input should be less than 1"):
        make_config({"objective": {"name": "supervised", "label_smoothing": 1}})
    with pytest.raises(LookupError, match="no objective is called 'supervized'; did you mean 'supervised'"):
        make_config({"objective": {"name": "supervized", "mixup": 0.5}})
    with pytest.raises(ValueError, match=r"objective.name = 3: expected a text, got a whole number"):
        make_config({"objective": {"name": 3}})


def test_a_resolved_configuration_comes_back_as_it_is():
    values = {"epochs": 3, "optim": {"base_lr": 1e-3, "warmup_epochs": 1}, **SUPERVISED}
    resolved = resolve(make_config(values), images=500, classes=10)
    again = resolve(make_config(resolved.model_dump(mode="json")), images=500, classes=10)
    assert again == resolved
    assert again.identity() == resolved.identity()


def test_a_run_that_is_older_than_a_key_had_its_default():
    recorded = Config().identity()
    del recorded["optim"]["layer_decay"], recorded["model"]["head_init_scale"]
    assert completed(recorded) == Config().identity()
    assert completed({"steps": 300, "seed": 1}) != Config().identity()
    for strange in ({"unknown": 1}, {"objective": {"name": "unknown"}}):
        assert completed(strange) == strange


def test_what_a_run_has_recorded_resolves_the_configuration_that_it_was_asked_with():
    config = make_config({"epochs": 2, **SUPERVISED})
    record = {"data": {"images": 1000, "classes": 10}}
    assert as_recorded(config, record) == resolve(config, images=1000, classes=10)
    assert as_recorded(config, {}) == config
