"""Comparisons of quick methods on a toy environment: runs, resumption, failures, figures, pages, mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autosim.cli.compare_options import comparison_help, parse_comparison
from autosim.cli.main import main
from autosim.comparison import compare as comparing
from autosim.comparison.figures import method_rows, target_score
from autosim.comparison.plan import TargetRule
from autosim.comparison.preparation import work_of
from autosim.comparison.tables import comparison_document, comparison_table
from autosim.errors import UserError
from autosim.runs.planned import is_finished
from benchmarks.evidence import main as evidence_main
from benchmarks.record import read_record
from benchmarks.tables import with_tables
from tests.comparison.comparison_toy import install_comparison_toy
from tests.toy import ROOT, image_folder, install_toy

COMMAND = ["--env=spots", "--budget.images=20", "--hop.frames", "4", "--targets=1,0"]
SHORT = ["--env=spots", "--budget.images=10", "--seeds=1", "--workers=0"]


@pytest.fixture(scope="module", autouse=True)
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toy packages within reach; nothing is imported ahead of the first run, for it takes seconds."""
    site = tmp_path_factory.mktemp("site")
    environment = install_toy(site)
    install_comparison_toy(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.syspath_prepend(str(ROOT / "tests" / "toy_package"))
        patch.syspath_prepend(str(site))
        patch.setenv("AUTOSIM_CACHE", environment["AUTOSIM_CACHE"])
        patch.setattr(comparing, "import_libraries", None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two methods that work and one that fails on one seed, on two targets."""
    out = tmp_path_factory.mktemp("made") / "out"
    arguments = [*COMMAND, "--algos=hop,crawl,stumble", "--seeds=2", "--workers=2", f"--out={out}"]
    assert main(["compare", *arguments]) == 1
    return out


@pytest.fixture(scope="module")
def results(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "comparison.json").read_text())
    return found


def row(results: dict[str, Any], method: str, target: int | None = None) -> dict[str, Any]:
    rows = results["rows"]
    if target is not None:
        rows = next(entry["rows"] for entry in results["by_target"] if entry["target"] == target)
    found: dict[str, Any] = next(row for row in rows if row["method"] == method)
    return found


def test_every_job_is_a_run_folder_of_its_own(made: Path, results: dict[str, Any]) -> None:
    names = [run["run"] for run in results["runs"]]
    assert sorted(names) == [
        *(f"crawl-t{t}-s{s}" for t in (0, 1) for s in (0, 1)),
        *(f"hop-t{t}-s{s}" for t in (0, 1) for s in (0, 1)),
        "stumble-t0-s0",
        "stumble-t1-s0",
    ]
    for name in names:
        assert (made / "runs" / name / "report.html").exists()
        assert (made / "runs" / name / "pictures" / "end.png").exists()
    summary = json.loads((made / "runs/hop-t1-s1/summary.json").read_text())
    assert (summary["seed"], summary["workers"], summary["images"]) == (1, 0, 20)
    assert summary["command"] == "autosim run --config runs/hop-t1-s1/config.yaml"


def test_what_failed_is_told_and_does_not_stop_the_rest(results: dict[str, Any]) -> None:
    causes = {entry["run"]: entry["cause"] for entry in results["failures"]}
    assert sorted(causes) == ["stumble-t0-s1", "stumble-t1-s1"]
    assert causes["stumble-t0-s1"] == "FloatingPointError: the step is not finite"
    assert row(results, "stumble")["seeds"] == 2


def test_rows_count_what_runs_spent_to_reach_the_first_methods_median(results: dict[str, Any]) -> None:
    # hop: 4 images a step, scores .2 .4 0 .8 .9 with seed 0, a tenth more with seed 1 and at most .9.
    assert "the best validation score that hop reaches" in results["target_rule"]
    assert results["target_score"] == [{"target": 1, "value": 0.9}, {"target": 0, "value": 0.9}]
    hop, crawl = row(results, "hop"), row(results, "crawl")
    # Five steps with seed 0; four with seed 1, whose fourth step gives .88, take five too.
    assert hop["images_to_target"]["median"] == 20 and hop["reached"] == hop["seeds"] == 4
    assert hop["val_score"]["median"] == 0.9
    # crawl: 5 images a step, four steps, at most .2 or .22.
    assert crawl["images_to_target"]["median"] is None and crawl["images_to_target"]["at_least"]["median"] == 20
    assert crawl["reached"] == 0 and crawl["val_score"]["median"] == pytest.approx(0.21)
    assert (crawl["images_ratio"]["value"], crawl["images_ratio"]["sense"]) == (1.0, "at least")
    assert row(results, "crawl", target=0)["seeds"] == 2
    assert [entry["target"] for entry in results["by_target"]] == [1, 0]
    trace = next(run["trace"] for run in results["runs"] if run["run"] == "hop-t0-s0")
    assert [(images, best) for images, _, best in trace] == [(4, 0.2), (8, 0.4), (16, 0.8), (20, 0.9)]


def test_test_scores_and_gaps_are_those_of_the_summaries(made: Path, results: dict[str, Any]) -> None:
    for run in results["runs"]:
        summary = json.loads((made / "runs" / run["run"] / "summary.json").read_text())
        for name in ("test_score", "gap_closed", "prior_score", "oracle_score"):
            assert run[name] == pytest.approx(summary[name], abs=1e-6)


def test_a_job_gives_the_numbers_of_an_ordinary_run(made: Path, tmp_path: Path) -> None:
    arguments = ["run", "--config", str(made / "runs/crawl-t1-s1/config.yaml"), f"--out={tmp_path / 'alone'}"]
    assert main(arguments) == 0

    def metrics(folder: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]

    assert metrics(tmp_path / "alone") == metrics(made / "runs/crawl-t1-s1")
    first, second = (
        json.loads((folder / "summary.json").read_text()) for folder in (tmp_path / "alone", made / "runs/crawl-t1-s1")
    )
    assert first["test_score"] == second["test_score"]


def test_pages_hold_the_figures_and_no_path(made: Path, results: dict[str, Any]) -> None:
    page = (made / "comparison.md").read_text()
    assert page == comparison_document(results)
    assert "| hop | 4 | **0.900** |" in page and "> 20" in page and "**≥ 1.0**" in page
    assert "## Target 1" in page and "stumble-t0-s1: FloatingPointError" in page
    for name in ("comparison.json", "comparison.md", "report.html"):
        assert str(made.parent) not in (made / name).read_text()
    assert "--out" not in results["command"] and "--hop.frames 4" in results["command"]
    html = (made / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 1 + 2 * (1 + 3 + 1)
    assert "<strong>0.900</strong>" in html and "https://" not in html and "http://" not in html
    assert "stumble-t0-s1 failed: FloatingPointError" in html


def test_a_comparison_becomes_results_and_its_table_in_a_document(
    made: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    assert evidence_main([str(made), "--name=hops", f"--out={tmp_path}"]) == 0
    text = "<!-- evidence: hops -->\nold\n<!-- end of evidence -->\n"
    found = with_tables(text, tmp_path)
    assert comparison_table(results) in found and "old" not in found
    assert with_tables(found, tmp_path) == found
    record = read_record(tmp_path / "hops.json")
    assert (record.command, record.seeds, record.rows) == (results["command"], results["seeds"], results["rows"])
    assert (tmp_path / "hops.md").read_text() == comparison_document(results)


def test_finished_runs_are_not_made_again(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {path: path.stat().st_mtime_ns for path in (made / "runs").rglob("*") if path.is_file()}
    monkeypatch.setattr(comparing, "make_run", lambda work: pytest.fail("made again"))
    monkeypatch.setattr(comparing, "prepare", lambda preparation: pytest.fail("prepared again"))
    arguments = [*COMMAND, "--algos=hop,crawl", "--seeds=2", "--workers=0", f"--out={made}"]
    before = {
        name: (made / name).read_bytes() for name in ("comparison.json", "comparison.md", "report.html", "plan.json")
    }
    try:
        assert main(["compare", *arguments]) == 0
        assert "8 runs" in (printed := capsys.readouterr().out) and "8 of them finished before" in printed
        assert {path: path.stat().st_mtime_ns for path in changed} == changed
        assert json.loads((made / "comparison.json").read_text())["failures"] == []
    finally:
        for name, content in before.items():
            (made / name).write_bytes(content)


def test_only_what_did_not_finish_is_made_again(tmp_path: Path) -> None:
    arguments = ["compare", *SHORT, "--algos=hop,crawl", f"--out={tmp_path / 'out'}"]
    assert main(arguments) == 0
    first, second = (tmp_path / "out/runs" / name for name in ("hop-t0-s0", "crawl-t0-s0"))
    summary = json.loads((second / "summary.json").read_text())
    (second / "summary.json").write_text(json.dumps({**summary, "interrupted": True}))
    (second / "left over").write_text("")
    kept = (first / "summary.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (first / "summary.json").stat().st_mtime_ns == kept
    assert not json.loads((second / "summary.json").read_text())["interrupted"]
    assert not (second / "left over").exists()


def test_ctrl_c_leaves_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*SHORT, "--algos=hop,crawl", "--seeds=2", f"--out={tmp_path / 'out'}"]
    made: list[Path] = []
    original = comparing.make_run

    def make_two(work: Any) -> None:
        if len(made) == 2:
            raise KeyboardInterrupt
        original(work)
        made.append(work.folder)

    monkeypatch.setattr(comparing, "make_run", make_two)
    assert main(["compare", *arguments]) == 130
    comparison = parse_comparison(arguments)
    finished = [job.name for job in comparison.jobs() if is_finished(work_of(job, comparison.runs))]
    assert finished == ["hop-t0-s0", "crawl-t0-s0"] == [path.name for path in made]


def test_an_ablation_has_a_row_for_each_value(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["compare", *SHORT, "--ablation=hop.pace", "--target-score=0.3", f"--out={out}"]) == 0
    results = json.loads((out / "comparison.json").read_text())
    assert (
        results["comparison"] == "pace" and results["reference"] == "brisk" and results["target_rule"] == "0.3, given"
    )
    assert [entry["config"]["pace"] for entry in results["methods"].values()] == ["brisk", "idle"]
    brisk, idle = results["rows"]
    assert (brisk["images_to_target"]["median"], idle["images_to_target"]["median"]) == (10, None)
    assert brisk["figures"]["cg_residual"]["median"] == 0.75
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["hop-brisk-t0-s0", "hop-idle-t0-s0"]
    page = (out / "comparison.md").read_text()
    assert page.startswith("# Values of pace on spots") and "| pace |" in page and "| CG residual |" in page
    assert results["by_target"] == [] and results["targets"] == [0]


def test_the_target_score_is_the_lower_median_of_what_its_setter_reached() -> None:
    runs = [
        {"method": method, "target": target, "val_score": score}
        for method, target, score in (
            ("bo", 0, 0.3), ("bo", 0, 0.5), ("bo", 0, 0.4), ("bo", 0, 0.6), ("bo", 1, 0.7), ("bo", 1, None),
            ("lts", 0, 0.9),
        )
    ]  # fmt: skip
    assert target_score(TargetRule(None, "bo"), runs, 0) == 0.4
    assert target_score(TargetRule(None, "bo"), runs, 1) == 0.7
    assert target_score(TargetRule(None, "bo"), runs, 2) is None
    assert target_score(TargetRule(0.25, "bo"), runs, 2) == 0.25


def test_the_published_figures_stand_beside_ours_on_their_environment(results: dict[str, Any]) -> None:
    from benchmarks.papers.published import record_of_comparison

    comparison = parse_comparison(["--env=clevr", "--algos=lts,bo,metasim"])
    rows = method_rows(comparison, [], comparison.settings.budget)
    assert all(row["seeds"] == 0 and row["images_to_target"] is None for row in rows)
    shown = record_of_comparison({**results, "env": "clevr", "rows": rows, "reference": "bo"}).markdown()
    assert "| 3,750 | 3 h 02 | 0.610 |" in shown and "| 960 | 43 min | 0.629 |" in shown and "| – | – | – |" in shown
    assert "Table 2" in shown and "64 pixels" in shown
    assert "paper" not in record_of_comparison(results).markdown()


def test_arguments_reach_every_run() -> None:
    comparison = parse_comparison(
        ["--env", "spots", "--algos", "crawl,hop", "--seeds", "3", "--targets=2", "--crawl.frames=7",
         "--env.contrast=0.5", "--budget.seconds=9", "--render.effort=0.5"]
    )  # fmt: skip
    jobs = comparison.jobs()
    assert [(job.label, job.target, job.seed) for job in jobs] == [
        (label, 2, seed) for seed in range(3) for label in ("crawl", "hop")
    ]
    settings = jobs[-1].config.settings
    assert (settings.seed, settings.workers, settings.budget.seconds, settings.budget.images) == (2, 0, 9, None)
    assert settings.render.effort == 0.5
    assert jobs[0].config.algo_config.frames == 7 and jobs[1].config.algo_config.frames == 5
    assert (jobs[0].config.env_config.target_seed, jobs[0].config.env_config.contrast) == (2, 0.5)


def test_defaults_are_stated() -> None:
    comparison = parse_comparison(["--env=clevr", "--algos=random,bo"])
    assert comparison.settings.budget.images == 2000 and len(comparison.seeds) == 5 and comparison.targets == (0,)
    assert comparison.rule.setter == comparison.reference == "random"
    named = parse_comparison(["--env=clevr", "--algos=random,bo", "--target_setter=bo", "--reference=bo"])
    assert named.rule.setter == named.reference == "bo"
    for option in ("target_setter", "reference"):
        with pytest.raises(UserError, match=rf"^--{option}: 'lts' is none of the rows random, bo$"):
            parse_comparison(["--env=clevr", "--algos=random,bo", f"--{option}=lts"])
    assert parse_comparison(["--env=clevr", "--algos=random,metasim"]).rule.setter == "random"
    from envs.clevr.env import Clevr

    assert comparison.settings.render == Clevr.gradient
    one_target = parse_comparison(["--env=spot", "--algos=walk"])
    assert one_target.targets == (None,) and one_target.jobs()[0].name == "walk-s0"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--env NAME is needed", "spots"]),
        (["--env=spots"], ["--algos", "is needed", "hop"]),
        (["--env=nope", "--algos=hop"], ["unknown environment 'nope'"]),
        (["--env=spots", "--algos=hop,nope"], ["unknown algorithm 'nope'", "hop"]),
        (["--env=spots", "--algos=hop,crawl,hop"], ["--algos: 'hop' is named twice"]),
        (["--env=spots", "--algos=hop", "--seeds=0"], ["--seeds: 0 is below 1"]),
        (["--env=spots", "--algos=hop", "--seeds=many"], ["--seeds: expected int, found 'many'"]),
        (["--env=spots", "--algos=hop", "--workers=-1"], ["--workers: -1 is below 0"]),
        (["--env=spots", "--algos=hop", "--targets=0,0"], ["--targets: 0 is named twice"]),
        (["--env=spots", "--algos=hop", "--targets=a"], ["--targets", "'a'"]),
        (["--env=spots", "--algos=hop", "--targets=9"], ["--targets: target_seed: 9"]),
        (["--env=spots", "--algos=hop", "--targets=1", "--env.target-seed=1"], ["--targets or --env.target_seed"]),
        (["--env=spot", "--algos=hop", "--targets=1"], ["environment 'spot' has no option target_seed"]),
        (["--env=spots", "--algos=hop", "--crawl.frames=4"], ["--crawl.frames: algorithm 'crawl' is not compared"]),
        (["--env=spots", "--algos=hop", "--hop.frame=4"], ["unknown option --hop.frame", "hop.frames"]),
        (["--env=spots", "--algos=hop", "--seed=4"], ["unknown option --seed"]),
        (["--env=spots", "--algos=hop", "--hop.pace=slow"], ["--hop.pace", "slow"]),
        (["--env=spots", "--algos=hop", "--budget.images=0"], ["--budget.images: 0"]),
        (["--env=spots", "--algos=hop", "--target-score=7"], ["--target_score: 7.0 is not in [0, 1]"]),
        (["--env=spots", "--algos=hop", "--target=images"], ["'spots'", "unlabelled"]),
        (["--env=spots", "--algos=hop", "--ablation=hop.pace"], ["leave --algos out"]),
        (["--env=spots", "--ablation=speed"], ["--ablation: 'speed'", "ALGO.OPTION"]),
        (["--env=spots", "--ablation=hop.speed"], ["algorithm 'hop' has no option 'speed'"]),
        (["--env=spots", "--ablation=hop.frames"], ["hop.frames is not an option of a few values"]),
        (["--env=spots", "--algos=hop", "--out=full"], ["output folder full is in use"]),
        (["--env=spots", "--algos=hop", "--out=full/file"], ["output folder full/file is a file"]),
        (["--env=spots", "--algos=crawl,hop", "--hop.frames=9", "--out=other"], ["hop-t0-s0", "another configuration",
         "algo.frames: 5 there, 9 here"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    parts: list[str],
) -> None:
    import yaml

    monkeypatch.chdir(tmp_path)
    image_folder(tmp_path / "images", count=1)
    Path("full").mkdir()
    Path("full/file").write_text("kept")
    theirs = parse_comparison(["--env=spots", "--algos=hop", "--out=other"])
    for job in theirs.jobs()[:1]:
        (theirs.runs / job.name).mkdir(parents=True)
        (theirs.runs / job.name / "config.yaml").write_text(yaml.safe_dump(job.config.to_dict()))
        Path("other/plan.json").write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("autosim: ")
    for part in parts:
        assert part in captured.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_method_that_cannot_work_on_the_target_is_found_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.comparison import comparison_toy

    def refuse(*arguments: object) -> None:
        raise UserError("needs a target of another kind")

    monkeypatch.setattr(comparison_toy.Crawl, "__init__", refuse)
    assert main(["compare", *SHORT, "--algos=hop,crawl", f"--out={tmp_path / 'out'}"]) == 2
    assert "needs a target of another kind" in capsys.readouterr().err
    assert list((tmp_path / "out/runs").iterdir()) == []


def test_help_lists_what_there_is_and_the_options_of_what_is_named() -> None:
    short = comparison_help([])
    assert "--algos" in short and "hop" in short and "--budget.images" in short and "--hop.frames" not in short
    full = " ".join(comparison_help(["--env=spots", "--algos=hop,crawl"]).split())
    assert "--hop.frames" in full and "--crawl.pace" in full and "--env.contrast" in full
    assert "--seed " not in full


def test_the_pages_beside_committed_comparisons_are_those_of_their_figures() -> None:
    from benchmarks.evidence import RESULTS
    from benchmarks.papers.published import comparison_of

    records = {path: read_record(path) for path in (ROOT / RESULTS).glob("*.json")}
    found = {path: results for path, record in records.items() if (results := comparison_of(record)) is not None}
    assert len(found) >= 5
    for path, results in found.items():
        page = comparison_document(results, records[path].markdown())
        assert path.with_suffix(".md").read_text(encoding="utf-8") == page
        assert path.stat().st_size < 400_000
