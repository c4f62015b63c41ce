"""A study file: what it says, and what of it is refused before any run."""

from __future__ import annotations

from pathlib import Path

import pytest

from collapse_lab.study.jobs import jobs_of
from collapse_lab.study.plan import Study, read_study, studies
from collapse_lab.study.pool import located
from tests.pictures import small_study, write_pictures

DEMO = Path(__file__).parents[2] / "collapse_lab" / "study" / "demo.toml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("plan") / "pictures")


def test_the_demo_is_the_two_by_two_and_the_official_initialisation_with_three_seeds():
    study = read_study(DEMO)
    assert len(jobs_of(study, Path("runs"))) == 15
    levels = {tuple(arm.factors.items()) for arm in study.arms.values() if arm.factors}
    assert len(levels) == 4
    assert sum(not arm.factors for arm in study.arms.values()) == 1
    assert study.captures[0] == 0
    assert study.captures[-1] == study.config["steps"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "is not a study"),
        ("name = 'a'", "title is missing"),
        ("colour = 1", "unknown key 'colour'"),
        ("capture = [1]", "unknown key 'capture'; did you mean 'captures'"),
        ("[arms.a]\nconfg = {}", "unknown key 'arms.a.confg'; did you mean 'config'"),
        ("captures = [2, 1]", "ascending"),
        ("seeds = [0, 0]", "expected every seed once"),
        ("positions = ['sampled:0']", "a position policy is 'all', 'pooled' or 'sampled:K'"),
        ("name = '../evil'", "name"),
        ("name = 'a\nb'", "is not a study"),
        ("probes = ['knm']", "no probe is called 'knm'; did you mean 'knn'"),
    ],
)
def test_a_study_file_that_is_wrong_is_refused_with_the_reason(tmp_path, text, complaint):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_study(tmp_path / "s.toml")


def test_a_baseline_that_is_no_arm_is_refused_with_the_arms(tmp_path):
    text = DEMO.read_text().replace('baseline = "no GRN, no LayerScale"', 'baseline = "nobody"')
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ValueError, match="'nobody' is not an arm; there is: no GRN, no LayerScale"):
        read_study(tmp_path / "s.toml")


def test_a_study_of_the_package_is_read_by_its_name():
    assert read_study("demo") == read_study(DEMO)
    assert "demo" in studies()


def test_an_unknown_name_is_refused_with_the_nearest_and_a_missing_file_as_a_file():
    with pytest.raises(LookupError, match="no study is called 'dmeo'; did you mean 'demo'"):
        read_study("dmeo")
    with pytest.raises(FileNotFoundError, match=r"no study nowhere.toml; give a TOML file, or one of: demo"):
        read_study("nowhere.toml")


def test_a_study_counts_in_steps(data, tmp_path):
    values = small_study(data, seeds=(0,)).model_dump()
    values["arms"]["GRN"]["config"]["epochs"] = 2
    with pytest.raises(ValueError, match="the arm 'GRN' is said in epochs; a study counts in steps"):
        jobs_of(Study.model_validate(values), tmp_path)


def test_two_arms_that_would_share_a_folder_are_refused(data, tmp_path):
    values = small_study(data).model_dump()
    values["arms"]["grn!"] = {}
    with pytest.raises(ValueError, match="'GRN', 'grn!'; call one of them otherwise"):
        jobs_of(Study.model_validate(values), tmp_path)


def test_what_a_study_says_otherwise_is_not_taken_from_its_configuration(data, tmp_path):
    values = small_study(data).model_dump()
    for name, value in (("seed", 3), ("out", "elsewhere")):
        study = Study.model_validate({**values, "config": {**values["config"], name: value}})
        with pytest.raises(ValueError, match=f"config.{name} is not for a study to say"):
            jobs_of(study, tmp_path)
    values["arms"]["..."] = {}
    with pytest.raises(ValueError, match=r"the arm '\.\.\.' gives no name of a folder"):
        jobs_of(Study.model_validate(values), tmp_path)


def refused(data: Path, tmp_path: Path, config: dict[str, object], **changes: object) -> str:
    """Why a study whose second arm changes its configuration like this is refused; nothing has been written then."""
    values = small_study(data, seeds=(0,)).model_dump() | changes
    values["arms"]["GRN"]["config"] |= config
    with pytest.raises(ValueError, match="the arm '") as error:
        located(jobs_of(Study.model_validate(values), tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
    return str(error.value)


def test_an_arm_that_is_refused_is_named_before_any_run(data, tmp_path):
    assert "the arm 'GRN': the configuration is refused: unknown key 'model.respnse'; did you mean 'response'" in (
        refused(data, tmp_path, {"model": {"respnse": "grn"}})
    )
    assert "12 x 12" in refused(data, tmp_path, {"data": {"size": 12}})  # cells of 8 do not divide it
    assert "no site matches 'nowhere'" in refused(data, tmp_path, {}, sites=("nowhere",))
    assert "captures at [9] lie beyond its 2 steps" in refused(data, tmp_path, {}, captures=(0, 9))


def test_an_arm_of_another_objective_leaves_the_options_of_the_first_behind(data, tmp_path):
    values = small_study(data, seeds=(0,)).model_dump()
    values["arms"]["GRN"]["config"]["objective"] = {"name": "supervised"}
    first, second = jobs_of(Study.model_validate(values), tmp_path)
    assert first.config.objective.decoder_dim == 8
    assert second.config.objective.name == "supervised"


def test_an_objective_that_needs_labels_is_refused_on_images_without_any(tmp_path):
    pictures = write_pictures(tmp_path / "pictures")
    for split in ("train", "test"):
        for place, path in enumerate(sorted((pictures / split).rglob("*.png"))):
            path.rename(pictures / split / f"{place}.png")
        for folder in (pictures / split).glob("class*"):
            folder.rmdir()
    said = refused(pictures, tmp_path, {"objective": {"name": "supervised"}})
    assert "labels" in said


def test_factors_that_are_no_factorial_are_refused_with_the_file(tmp_path):
    (tmp_path / "study.toml").write_text(
        DEMO.read_text().replace("{ GRN = true, LayerScale = true }", "{ GRN = true }")
    )
    with pytest.raises(ValueError, match="need each combination of on and off in exactly one arm"):
        read_study(tmp_path / "study.toml")
