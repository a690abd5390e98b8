"""Class names in any script, whatever the encoding of the machine and of the terminal."""

import ast
import contextlib
import json
import pathlib

import numpy as np
import pytest
from commands import Runner, a_job, run_jobs
from tiny_predictors import rows, tiny, write_run

from ladder_jax.run import files

ROOT = pathlib.Path(__file__).parent.parent
NAMES = ("naïve", "日本", "Ω")
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SMALL = ("--config.units=(4,)", "--config.epochs=1", "--config.batch_unlabeled=20")


@pytest.fixture
def folder(tmp_path):
    """Returns a folder with a dataset and a run whose classes have these names."""
    x, y = rows((2, 3), 60), np.arange(60) % 3
    np.savez(tmp_path / "mine.npz", x=x, y=y, x_test=x, y_test=y, class_names=NAMES)
    settings = {"dataset": str(tmp_path / "mine.npz")}
    run = tmp_path / "run"
    write_run(run, tiny((2, 3), **settings), **settings)
    summary = json.loads((run / "result.json").read_text(encoding="utf-8"))
    files.write_json(run / "result.json", summary | {"class_names": NAMES})
    return tmp_path


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}, ASCII],
    ids=["cp1252", "ascii", "C"],
)
def test_commands_print_and_write_any_class_name(folder, variables):
    encoding = variables.get("PYTHONIOENCODING", "ascii")
    with_training = variables is ASCII  # once is enough
    training = (*SMALL, "--dataset=mine.npz", "--labels=12", "--compare=none", "--workdir=new")
    jobs = [
        a_job(folder, "experiments.evaluate", "--workdir=run"),
        a_job(folder, "experiments.predict", "--workdir=run", "--input=mine.npz"),
    ]
    if with_training:
        with contextlib.closing(Runner(**variables)) as runner:
            done = run_jobs([*jobs, a_job(folder, "experiments.train", *training)], runner)
    else:
        done = run_jobs(jobs, **variables)
    assert not any(status for status, _ in done), done
    for name in NAMES:
        escaped = name.encode(encoding, "backslashreplace").decode("utf-8", "replace")
        assert escaped in done[0][1]
    heading = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()[0]
    assert heading == ",".join(["row", "class", "probability", *(f"p_{n}" for n in NAMES)])
    if with_training:
        assert "warning: no report" not in done[2][1]
        page = (folder / "new" / "ladder-0" / "report.html").read_text(encoding="utf-8")
        assert all(name in page for name in NAMES)


def _needs_encoding(call):
    """Returns whether a call opens text in the encoding of the machine."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in named:
        return False
    if name in ("read_text", "write_text") or "text" in named or "universal_newlines" in named:
        return name in ("read_text", "write_text") or name in ("run", "Popen", "check_output")
    modes = [value for value in (*call.args, *named.values()) if isinstance(value, ast.Constant)]
    texts = [m.value for m in modes if m.value in ("r", "w", "a", "x", "r+", "w+", "rt", "wt")]
    no_mode = name == "open" and isinstance(call.func, ast.Attribute) and not call.args
    return name in ("open", "fdopen", "TemporaryFile", "NamedTemporaryFile") and (texts or no_mode)


def test_text_files_are_opened_as_utf_8():
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("ladder_jax", "experiments", "benchmarks", "examples", "notebooks", "docs")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _needs_encoding(node)
    ]
    assert not calls
    for code in ("p.read_text()", "p.open()", "open(p, 'w')", "run(c, text=True)"):
        assert _needs_encoding(ast.parse(code).body[0].value)
    for code in ("p.open('rb')", "Image.open(p)", "p.write_text(t, encoding='utf-8')"):
        assert not _needs_encoding(ast.parse(code).body[0].value)
