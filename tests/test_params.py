"""Parameters: from params.yaml and the command line, every problem at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import yaml
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

import train
from runback import params
from runback.errors import ParamsError
from runback.params import Between, OneOf, Text


@dataclass(frozen=True)
class Config:
    """Train something."""

    data: Annotated[str, OneOf(("digits", "mnist")), "images"]
    epochs: Annotated[int, Between(1, 100), "passes"]
    learning_rate: Annotated[float, Between(0, 1, above=True), "of Adam"]
    dropout: Annotated[float, Between(0, 1, below=True), "left out"]


GOOD: dict[str, object] = {"data": "digits", "epochs": 10, "learning_rate": 0.1, "dropout": 0}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"train": GOOD}))
    return path


def load(file: Path, *argv: str) -> Config:
    return params.load(Config, argv, file, script="train.py")


def problems(file: Path, *argv: str) -> list[str]:
    with pytest.raises(ParamsError) as raised:
        load(file, *argv)
    return raised.value.problems


def test_values_come_from_the_file(file: Path) -> None:
    assert load(file) == Config("digits", 10, 0.1, 0.0)


@pytest.mark.parametrize("argv", [("--learning-rate", "0.5"), ("--learning-rate=0.5",)])
def test_option_of_the_same_name_goes_before_the_file(file: Path, argv: tuple[str, ...]) -> None:
    assert load(file, *argv).learning_rate == 0.5


def test_all_problems_at_once_each_with_value_place_and_rule(file: Path) -> None:
    file.write_text("train: {data: imagenet, epochs: 2.5, learning_rat: 1, dropout: 1}")
    assert problems(file, "--epoch", "3", "--dropout", "--learning-rate", "nan", "stray") == [
        "learning_rat (params.yaml): no such parameter; did you mean learning_rate?",
        "data = 'imagenet' (params.yaml): must be one of digits, mnist",
        "epochs = 2.5 (params.yaml): must be a whole number from 1 to 100",
        "learning_rate = 'nan' (--learning-rate): must be a number above 0 to 1",
        "dropout = '' (--dropout): must be a number from 0 and below 1",
        "--epoch: no such option; did you mean --epochs?",
        "stray: not an option",
    ]


def test_message_counts_them_and_points_at_the_help(file: Path) -> None:
    with pytest.raises(ParamsError) as raised:
        load(file, "--epochs", "0")
    assert str(raised.value) == (
        "1 problem in the parameters\n"
        "  epochs = '0' (--epochs): must be a whole number from 1 to 100"
    )
    assert (raised.value.hint, raised.value.exit_status) == ("python train.py --help", 2)


@pytest.mark.parametrize(
    ("allowed", "rule"),
    [
        (Between(0, 2**32 - 1), "from 0 to 4294967295"),
        (Between(-(2**63), 2**63 - 1), "from -9223372036854775808 to 9223372036854775807"),
        (Between(1 / 3, 1e6, above=True), "above 0.333333 to 1e+06"),
        (Between(1e-5, 1.0, below=True), "from 1e-05 and below 1"),
    ],
)
def test_rule_says_whole_numbers_exactly_and_others_short(allowed: Between, rule: str) -> None:
    assert str(allowed) == rule


def test_number_that_yaml_takes_for_text_is_a_number(file: Path) -> None:
    """YAML 1.1 wants 1.0e-3; people write 1e-3."""
    file.write_text(yaml.safe_dump({"train": {**GOOD, "learning_rate": "1e-3", "epochs": "1e1"}}))
    assert load(file).learning_rate == 0.001
    assert load(file).epochs == 10


def test_text_may_be_anything_and_look_like_a_number(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Places:
        """Where things are."""

        data: Annotated[str, Text("a folder"), "of the images"]
        fold: Annotated[str, OneOf(("1", "all")), "held out"]

    file = tmp_path / "params.yaml"
    file.write_text("train: {data: 2024, fold: 1}")
    assert params.load(Places, [], file) == Places("2024", "1")
    with pytest.raises(ParamsError) as raised:
        params.load(Places, ["--data", "", "--fold", "01"], file)
    assert raised.value.problems == [
        "data = '' (--data): must be a folder",
        "fold = '01' (--fold): must be one of 1, all",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train: [1, 2]", "params.yaml has no section 'train' with names and values"),
        ("", "params.yaml has no section 'train' with names and values"),
        ("train: {epochs: 1", "params.yaml is not valid YAML: while parsing a flow mapping"),
    ],
)
def test_file_that_is_not_as_expected(file: Path, text: str, problem: str) -> None:
    file.write_text(text)
    assert problems(file)[0].startswith(problem)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert problems(path)[0] == f"{path}: No such file or directory"


@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}, "", "ten", float("inf"), 2.5, -1])
def test_what_is_no_whole_number_in_range(file: Path, value: object) -> None:
    file.write_text(yaml.safe_dump({"train": {**GOOD, "epochs": value}}))
    assert len(problems(file)) == 1


@given(
    epochs=st.integers(1, 100),
    learning_rate=st.floats(0, 1, exclude_min=True),
    dropout=st.floats(0, 1, exclude_max=True),
    data=st.sampled_from(["digits", "mnist"]),
)
def test_what_is_written_is_read_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, **values: object
) -> None:
    """By file and by option: repr of a double, as YAML and argv carry it."""
    config = Config(**values)  # type: ignore[arg-type]
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_text(yaml.safe_dump({"train": dataclasses.asdict(config)}))
    assert load(file) == config
    file.write_text(yaml.safe_dump({"train": GOOD}))
    argv = [
        f"--{name.replace('_', '-')}={value!r}".replace("'", "") for name, value in values.items()
    ]
    assert load(file, *argv) == config


def test_help_names_each_parameter_with_its_rule(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        load(file, "--help")
    text = capsys.readouterr().out
    assert "usage: python train.py" in text
    for param in params.declared(Config):
        assert param.option in text
        assert param.help in text


def test_params_yaml_of_the_project_fits_its_training() -> None:
    assert train.configure([]) == params.load(train.Config, [], REPOSITORY / "params.yaml")
