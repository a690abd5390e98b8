"""The ``--help`` of each command, and errors for flags that a command does not have."""

import dataclasses
import re

import pytest
from commands import a_job, run_jobs
from documented import MODULES

from experiments import configs, helptext
from experiments.__main__ import commands
from ladder_jax.config import Config

NAMES = [f"experiments.{name}" for name in commands()]
NAMES += [
    f"benchmarks.{path.stem}"
    for path in MODULES
    if path.parent.name == "benchmarks" and "cli.run(" in path.read_text(encoding="utf-8")
]
WIDTH = 60


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Returns the help of every command on a narrow terminal."""
    folder = tmp_path_factory.mktemp("help")
    done = run_jobs([a_job(folder, name, "--help") for name in NAMES], COLUMNS=str(WIDTH))
    assert [status for status, _ in done] == [0] * len(NAMES), done
    assert not any(folder.iterdir())
    return {name: text for name, (_, text) in zip(NAMES, done, strict=True)}


def flags_of(text):
    return re.findall(r"^  --(?:\[no\])?([\w.]+)", text, re.MULTILINE)


def test_help_fits_the_terminal_and_gives_each_default_once(texts):
    for name, text in texts.items():
        assert f"python -m {name.removesuffix('.__main__')}" in text
        assert max(map(len, text.splitlines())) <= WIDTH, name
        for entry in re.split(r"\n(?=  --|\n)", text):
            assert entry.lower().count("default:") <= 1, entry
        assert len(set(flags_of(text))) == len(flags_of(text))


def test_commands_list_only_their_own_flags(texts):
    flags = {name.partition(".")[2]: flags_of(text) for name, text in texts.items()}
    assert flags["evaluate"] == ["workdir", "dataset", "data_dir"]
    assert flags["conv"] == ["json", "preset", "steps", "batch_rows", "data_dir"]
    assert flags["predict"][-3:] == ["workdir", "output", "overwrite_output"]
    assert {"coordinator", "processes", "process_id", "distributed"} <= {*flags["train"]}
    assert not {"seeds", "workdir"} & {*flags["original"]}
    for name, text in texts.items():
        assert ("predictions.csv" in text) == (name == "experiments.predict")
        trains = name in ("experiments.train", "experiments.sweep")
        assert ("config" in flags_of(text)) == trains, name


def test_benchmarks_list_no_training_flags(texts):
    training = set(flags_of(texts["experiments.train"]))
    for name in NAMES:
        if name.startswith("benchmarks."):
            listed = set(flags_of(texts[name]))
            assert listed & training <= {"workdir", "dataset", "data_dir", "labels", "seeds"}, name
    flags_for_all = ["rounds", "steps", "only", "json", "markdown", "torch_python", "lamda_python"]
    assert flags_of(texts["benchmarks.__main__"]) == flags_for_all


def test_configs_and_settings_are_listed(texts):
    for name in ("experiments.train", "experiments.sweep"):
        text = texts[name]
        for config in configs.names():
            about = helptext.first_line(configs.FOLDER / f"{config}.py")
            assert re.search(rf"^  {config}\s+{about.split()[0]}", text, re.MULTILINE)
        rows = re.findall(r"^    model=(\w+)\s+labels=(.*)$", text, re.MULTILINE)
        assert {("tuned", "20, 50, 100, 1000, all"), ("conv_large_gamma", "4000")} <= set(rows)
        table_rows = [config for config in configs.every() if ":" in config]
        assert sum(len(labels.split(", ")) for _, labels in rows) == len(table_rows)
        settings = [flag.removeprefix("config.") for flag in flags_of(text) if "." in flag]
        assert settings == [field.name for field in dataclasses.fields(Config)]
    assert all(helptext.setting_texts().values())


def test_commands_are_listed(tmp_path):
    (overview, train, *bad_flags) = run_jobs(
        [
            a_job(tmp_path, "experiments"),
            a_job(tmp_path, "experiments", "train"),
            a_job(tmp_path, "benchmarks.first_fit", "--seeds=3"),
            a_job(tmp_path, "experiments.evaluate", "--outptu=x"),
            a_job(tmp_path, "experiments.original", "run.py", "train"),
        ]
    )
    assert overview[0] == 0 and train[0] == 1 and "python -m experiments.train" in train[1]
    for name, about in commands().items():
        assert re.search(rf"experiments\.{name}\s", overview[1]) and about.split()[0] in overview[1]
    messages = ["no flag --seeds; --help lists", "no flag --outptu; --help", "--encoder-layers"]
    for (status, text), message in zip(bad_flags, messages, strict=True):
        assert status == 1 and message in text and text.count("\n") == 1, text
