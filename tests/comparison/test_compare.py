"""Comparisons of quick methods on a toy environment: runs, resumption, failures, figures, pages, mistakes."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from autosim.cli.compare_options import comparison_help, parse_comparison
from autosim.cli.main import main
from autosim.comparison import compare as comparing
from autosim.comparison.plan import Measure
from autosim.comparison.preparation import set_up_of, work_of
from autosim.comparison.tables import comparison_document, cost_table, main_table, notes
from autosim.errors import UserError
from autosim.runs.planned import is_finished
from benchmarks.evidence import main as evidence_main
from benchmarks.record import read_record
from benchmarks.tables import with_tables
from tests.support.toy import ROOT, image_folder

pytestmark = pytest.mark.usefixtures("toys")
WRITTEN = ("comparison.json", "comparison.md", "report.html")
# More than any of these runs needs: their own number of iterations ends them.
PLENTY = "--budget.core_seconds=100"
COMMAND = ["--env=spots", PLENTY, "--hop.frames", "4", "--targets=1,0", "--networks=2", "--checkpoints=0.5,1"]
SHORT = ["--env=spots", PLENTY, "--workers=0", "--networks=1"]
MEASURE = {"shares": [0.125, 0.25, 0.5, 1.0], "networks": 3, "part": "test"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, toys: None) -> Path:
    """A comparison of two methods that work and one that fails on one seed, on two targets."""
    out = tmp_path_factory.mktemp("made") / "out"
    arguments = [*COMMAND, "--algos=hop,crawl,stumble", "--seeds=2", "--workers=0", f"--out={out}"]
    assert main(["compare", *arguments]) == 1
    return out


@pytest.fixture(scope="module")
def results(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "comparison.json").read_text())
    return found


def row(results: dict[str, Any], method: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in results["rows"] if row["method"] == method)
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
    assert (row(results, "stumble")["runs"], row(results, "stumble")["targets"]) == (2, 2)


def test_rows_are_means_over_targets_of_fresh_networks_scores(results: dict[str, Any]) -> None:
    names = [entry["method"] for entry in results["rows"]]
    assert names == ["start", "broad randomisation", "oracle", "hop", "crawl", "stumble"]
    ends = {(run["target"], run["seed"]): run["checkpoints"][-1] for run in results["runs"] if run["method"] == "hop"}
    assert all(len(end["scores"]) == 2 and end["images"] == 20 for end in ends.values())
    by_target = [statistics.fmean(ends[target, seed]["score"] for seed in (0, 1)) for target in (0, 1)]
    assert row(results, "hop")["score"]["mean"] == pytest.approx(statistics.fmean(by_target), abs=1e-4)
    # It went to the target's own distribution, and the other stayed where it was.
    assert row(results, "hop")["gap"]["mean"] > 0.7 > 0.3 > row(results, "crawl")["gap"]["mean"]
    assert row(results, "oracle")["gap"]["mean"] == 1.0 and row(results, "start")["gap"]["mean"] == 0.0
    assert row(results, "hop")["ended_early"] == 4


def test_the_cost_has_shares_of_rendering_networks_and_the_rest(results: dict[str, Any]) -> None:
    spent = row(results, "hop")["spent"]
    assert all(0 <= share <= 1 for share in spent.values()) and len(spent) == 2
    (told, *_), heads = cost_table(results).lines, cost_table(results).heads
    assert heads[3:6] == ("rendering", "networks", "method's own") and "–" not in told
    unspent = [{name: value for name, value in each.items() if name != "spent"} for each in results["rows"]]
    (bare, *_) = cost_table({**results, "rows": unspent}).lines
    assert bare == (*told[:3], *told[6:])


def test_runs_without_an_iteration_are_told(results: dict[str, Any]) -> None:
    assert "took more than the budget" not in " ".join(notes(results))
    ends = [{**run["checkpoints"][-1], "iterations": 0} for run in results["runs"]]
    unbegun = [{**run, "checkpoints": [end]} for run, end in zip(results["runs"], ends, strict=True)]
    assert "they end at the start: hop (4), crawl (4), stumble (2)." in " ".join(notes({**results, "runs": unbegun}))


def test_gaps_are_measured_from_the_start_to_the_oracle_of_their_target(results: dict[str, Any]) -> None:
    for run in results["runs"]:
        scores = next(entry["scores"] for entry in results["targets"] if entry["target"] == run["target"])
        start, oracle = statistics.fmean(scores["start"]), statistics.fmean(scores["oracle"])
        for point in run["checkpoints"]:
            assert point["gap"] == pytest.approx((point["score"] - start) / (oracle - start), abs=1e-3)


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
    assert "| hop | brisk images | 2 |" in page and "| broad randomisation | – | 2 |" in page
    assert "stumble-t0-s1: FloatingPointError" in page
    for name in WRITTEN:
        assert str(made.parent) not in (made / name).read_text()
    assert "--out" not in results["command"] and "--hop.frames 4" in results["command"]
    html = (made / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 1 + 2 * (1 + 3 + 1)
    assert "https://" not in html and "http://" not in html
    assert "stumble-t0-s1 failed: FloatingPointError" in html


def test_a_comparison_becomes_results_and_its_table_in_a_document(
    made: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    assert evidence_main([str(made), "--name=hops", f"--out={tmp_path}"]) == 0
    text = "<!-- evidence: hops -->\nold\n<!-- end of evidence -->\n"
    found = with_tables(text, tmp_path)
    assert main_table(results).markdown() in found and "old" not in found
    assert with_tables(found, tmp_path) == found
    chosen = "<!-- evidence: hops; method; rendering; method's own -->\n<!-- end of evidence -->\n"
    assert "| crawl |" in with_tables(chosen, tmp_path) and "| start |" not in with_tables(chosen, tmp_path)
    record = read_record(tmp_path / "hops.json")
    assert (record.command, record.seeds, record.rows) == (results["command"], results["seeds"], results["rows"])
    assert (tmp_path / "hops.md").read_text() == comparison_document(results)
    # One of an earlier version, which had a part less, is replaced.
    content = json.loads((tmp_path / "hops.json").read_text())
    del content["details"]["over"]
    (tmp_path / "hops.json").write_text(json.dumps(content))
    assert evidence_main([str(made), "--name=hops", f"--out={tmp_path}"]) == 0
    assert read_record(tmp_path / "hops.json").details == record.details


def test_results_are_made_again_byte_for_byte_from_the_runs_and_from_results_alone(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(made, out)
    monkeypatch.setattr(comparing, "make_and_measure", lambda work: pytest.fail("made again"))
    monkeypatch.setattr(comparing, "prepare", lambda preparation: pytest.fail("prepared again"))
    arguments = [*COMMAND, "--algos=hop,crawl", "--seeds=2", "--workers=0"]
    assert main(["compare", *arguments, f"--out={out}"]) == 0
    assert "8 runs" in (printed := capsys.readouterr().out) and "8 of them finished before" in printed
    before = {name: (out / name).read_bytes() for name in WRITTEN}
    assert main(["compare", *arguments, f"--out={out}"]) == 0
    assert {name: (out / name).read_bytes() for name in WRITTEN} == before
    assert evidence_main([str(out), "--name=hops", f"--out={tmp_path}"]) == 0
    for known in (out / "comparison.json", tmp_path / "hops.json"):
        again = tmp_path / known.stem
        assert main(["compare", *arguments, f"--known={known}", f"--out={again}"]) == 0
        found, wanted = (json.loads((folder / "comparison.json").read_text()) for folder in (again, out))
        assert {**found, "command": ""} == {**wanted, "command": ""}
    both = f"--known={out / 'comparison.json'},{tmp_path / 'hops.json'}"
    assert main(["compare", *arguments, both, f"--out={tmp_path / 'both'}"]) == 0


def test_only_methods_that_have_runs_to_make_are_set_up() -> None:
    jobs = parse_comparison([*COMMAND, "--algos=crawl,hop"]).jobs()
    assert [config.algo for config in set_up_of(jobs).configs] == ["crawl", "hop"]
    waiting = [job for job in jobs if job.label == "hop"][1:]
    assert set_up_of(waiting).configs == (waiting[0].config,)


def test_a_run_that_was_made_and_not_measured_is_measured(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made, out)
    folder = out / "runs/hop-t0-s0"
    (folder / "measured.json").unlink()
    kept = (folder / "summary.json").stat().st_mtime_ns
    assert main(["compare", *COMMAND, "--algos=hop,crawl", "--seeds=2", "--workers=0", f"--out={out}"]) == 0
    assert (folder / "summary.json").stat().st_mtime_ns == kept
    measured = [json.loads((path / "measured.json").read_text()) for path in (folder, made / "runs/hop-t0-s0")]
    assert measured[0] == measured[1]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_only_what_did_not_finish_is_made_again(tmp_path: Path, workers: int) -> None:
    arguments = ["compare", *SHORT, f"--workers={workers}", "--algos=hop,crawl", f"--out={tmp_path / 'out'}"]
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
    original = comparing.make_and_measure

    def make_two(work: Any) -> None:
        if len(made) == 2:
            raise KeyboardInterrupt
        original(work)
        made.append(work.run.folder)

    monkeypatch.setattr(comparing, "make_and_measure", make_two)
    assert main(["compare", *arguments]) == 130
    comparison = parse_comparison(arguments)
    finished = [job.name for job in comparison.jobs() if is_finished(work_of(comparison, job).run)]
    assert finished == ["hop-t0-s0", "crawl-t0-s0"] == [path.name for path in made]


def test_an_ablation_has_a_row_for_each_value(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["compare", *SHORT, "--ablation=hop.pace", "--score-on=validation", f"--out={out}"]) == 0
    results = json.loads((out / "comparison.json").read_text())
    assert results["comparison"] == "pace" and results["measure"]["part"] == "validation"
    assert [entry["config"]["pace"] for entry in results["methods"].values()] == ["brisk", "idle"]
    assert [entry["shown"] for entry in results["methods"].values()] == ["brisk images", "idle images"]
    brisk, idle = results["rows"][-2:]
    assert brisk["gap"]["mean"] > idle["gap"]["mean"] and brisk["gap"]["low"] is None
    assert brisk["figures"]["cg_residual"] == 1.5
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["hop-brisk-t0-s0", "hop-idle-t0-s0"]
    page = (out / "comparison.md").read_text()
    assert "CG residual" in page and "for choosing settings, not for reporting" in page


def test_an_ablation_compares_the_values_that_are_named() -> None:
    comparison = parse_comparison(["--env=spots", "--ablation=hop.frames=30,4", "--hop.pace=idle"])
    assert [(method.label, method.config.frames, method.config.pace) for method in comparison.methods] == [
        ("30", 30, "idle"),
        ("4", 4, "idle"),
    ]
    assert [job.name for job in comparison.jobs()] == ["hop-30-t0-s0", "hop-4-t0-s0"]


def test_an_ablation_changes_one_option_at_a_time() -> None:
    comparison = parse_comparison(["--env=spots", "--ablation=hop.frames=30; hop.pace", "--hop.pace=idle"])
    assert [(method.label, method.config.frames, method.config.pace) for method in comparison.methods] == [
        ("as it is", 5, "idle"),
        ("frames=30", 30, "idle"),
        ("pace=brisk", 5, "brisk"),
    ]
    assert comparison.ablation == "change" and comparison.jobs()[1].name == "hop-frames=30-t0-s0"


def test_arguments_reach_every_run() -> None:
    comparison = parse_comparison(
        ["--env", "spots", "--algos", "crawl,hop", "--seeds", "3", "--targets=2", "--crawl.frames=7",
         "--env.contrast=0.5", "--budget.seconds=9", "--checkpoints=0.2,1", "--networks=5", "--render.effort=0.5"]
    )  # fmt: skip
    jobs = comparison.jobs()
    assert [(job.label, job.target, job.seed) for job in jobs] == [
        (label, 2, seed) for seed in range(3) for label in ("crawl", "hop")
    ]
    settings = jobs[-1].config.settings
    assert comparison.measure == Measure((0.2, 1.0), 5, "test")
    assert (settings.seed, settings.workers, settings.budget.seconds, settings.budget.images) == (2, 0, 9, None)
    assert settings.render.effort == 0.5
    assert jobs[0].config.algo_config.frames == 7 and jobs[1].config.algo_config.frames == 5
    assert (jobs[0].config.env_config.target_seed, jobs[0].config.env_config.contrast) == (2, 0.5)


def test_defaults_are_stated() -> None:
    comparison = parse_comparison(["--env=clevr", "--algos=random,metasim,leap"])
    assert comparison.settings.budget.core_seconds == comparison.core_seconds == 300
    assert comparison.seeds == comparison.targets == (0,)
    assert comparison.measure == Measure((0.125, 0.25, 0.5, 1.0), 3, "test")
    assert [method.shown for method in comparison.methods] == ["labels", "images, labels", "images"]
    assert parse_comparison(["--env=clevr", "--algos=bo", "--targets=unseen"]).targets == tuple(range(110, 118))
    assert parse_comparison(["--env=clevr", "--algos=bo", "--targets=tuning"]).targets == (0, 1, 2)
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
        (["--env=spots", "--algos=hop", "--budget.core_seconds=0"], ["--budget.core_seconds: 0"]),
        (["--env=spots", "--algos=hop", "--checkpoints=0.5,0.2,1"], ["--checkpoints: '0.5,0.2,1'", "rise to 1"]),
        (["--env=spots", "--algos=hop", "--checkpoints=0.5"], ["--checkpoints: '0.5'", "rise to 1"]),
        (["--env=spots", "--algos=hop", "--checkpoints=a,1"], ["--checkpoints: 'a,1'"]),
        (["--env=spots", "--algos=hop", "--networks=0"], ["--networks: 0 is below 1"]),
        (["--env=spots", "--algos=hop", "--score-on=train"], ["--score_on: 'train'", "test, validation"]),
        (["--env=spots", "--algos=hop", "--known=nowhere.json"], ["--known: nowhere.json is no file"]),
        (["--env=spots", "--algos=hop", "--known=full/file"], ["--known: full/file holds no comparison"]),
        (["--env=spots", "--algos=hop", "--networks=5", "--out=other"], ["other holds a comparison that was measured"]),
        (["--env=spots", "--algos=hop", "--target=images"], ["'spots'", "unlabelled"]),
        (["--env=spots", "--algos=hop", "--ablation=hop.pace"], ["leave --algos out"]),
        (["--env=spots", "--ablation=speed"], ["--ablation: 'speed'", "ALGO.OPTION"]),
        (["--env=spots", "--ablation=hop.speed"], ["algorithm 'hop' has no option 'speed'"]),
        (["--env=spots", "--ablation=hop.frames"], ["hop.frames is not an option of a few values", "=VALUE,VALUE"]),
        (["--env=spots", "--ablation=hop.frames=4,many"], ["--hop.frames", "expected int, found many"]),
        (["--env=spots", "--ablation=hop.frames=4"], ["--ablation: '4' are not two or more different values"]),
        (["--env=spots", "--ablation=hop.frames=4,4"], ["--ablation: '4,4' are not two or more different values"]),
        (["--env=spots", "--ablation=hop.pace;crawl.frames=2"], ["'crawl.frames' is of another algorithm than hop"]),
        (["--env=spots", "--ablation=hop.pace;hop.pace=idle"], ["--ablation: 'hop.pace' is named twice"]),
        (["--env=spots", "--ablation=hop.pace;hop.frames=,"], ["--ablation: ',' are not different values"]),
        (["--env=spots", "--ablation=hop.pace;hop.frames"], ["hop.frames is not an option of a few values"]),
        (["--env=spots", "--ablation=hop.pace=idle;hop.pause=0"], ["has no option 'pause'"]),
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
        Path("other/plan.json").write_text(json.dumps({"env": "spots", "measure": MEASURE}))
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
    from benchmarks.parts.comparison_record import comparison_of

    records = {path: read_record(path) for path in (ROOT / RESULTS).glob("*.json")}
    found = {path: results for path, record in records.items() if (results := comparison_of(record)) is not None}
    assert found
    for path, results in found.items():
        page = comparison_document(results)
        assert path.with_suffix(".md").read_text(encoding="utf-8") == page
        assert path.stat().st_size < 400_000
