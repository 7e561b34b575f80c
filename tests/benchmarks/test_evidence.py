"""From run folders to committed figures, and from those to the tables of the documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from autosim.cli.main import main
from autosim.errors import UserError
from autosim.reports.table import Table
from benchmarks.evidence import DOCUMENTS, RESULTS, evidence_of, gather, least_recovered, without_out
from benchmarks.evidence import main as evidence_main
from benchmarks.record import Record, read_record
from benchmarks.tables import checks_table, runs_document, with_tables
from tests.support.toy import ROOT

DOCUMENT = "Before.\n\n<!-- evidence: toy -->\nold\n<!-- end of evidence -->\n\nAfter.\n"
CHECK = {"name": "gradient", "figure": "0.988", "criterion": "cosine ≥ .95", "holds": True, "command": "make"}


def run_folder(root: Path, algo: str, target: int, seed: int, gap: float | None, **changes: Any) -> Path:
    """A finished run as far as evidence looks at it."""
    folder = root / f"{algo}-{target}-{seed}"
    folder.mkdir(parents=True)
    start = {"mean": 0.0, "std": 1.0}
    summary: dict[str, Any] = {
        "algo": algo, "env": "toy", "seed": seed, "workers": 2, "iterations": 3, "images": 1200, "seconds": 40.0,
        "setup_seconds": 5.0, "score_name": "mIoU", "val_score": 0.7, "test_score": 0.6, "prior_score": 0.2,
        "oracle_score": 0.8, "gap_closed": gap, "interrupted": False, "note": "", "mmd2_end": 0.4, "date": "2024-05-06",
        "command": f"autosim run --algo {algo} --out /home/me/runs --seed {seed}", "versions": {"python": "3.11"},
        "attributes": {
            "ball.x": {"recovered": 0.1, "start": start},
            "ball.y": {"recovered": 0.9, "start": start},
            "ball.location": {"recovered": 0.85},
            "lamp.power": {"recovered": 0.75, "start": start},
            "lamp.tint": {"recovered": None, "start": start},
        },
    }  # fmt: skip
    summary.update(changes)
    (folder / "summary.json").write_text(json.dumps(summary))
    config = {"algo": {"name": algo}, "env": {"name": "toy", "target_seed": target}, "seed": seed, "workers": 2}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [{"iteration": i, "seconds": 1.0 * i, "mmd2": mmd2} for i, mmd2 in enumerate((2.0, 1.0, 0.5))]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    gaps = [(2, 0.9), (0, 0.5), (1, 0.7)]
    metasim = [run_folder(tmp_path / "runs", "metasim", target, 0, gap) for target, gap in gaps]
    return [run_folder(tmp_path / "runs", "random", 0, 0, None), *metasim]


def test_rows_are_sorted_and_hold_what_the_folders_hold(folders: list[Path]) -> None:
    evidence = gather(folders, "toy")
    rows = evidence["runs"]
    assert [(row["algo"], row["target_seed"]) for row in rows] == [
        ("metasim", 0), ("metasim", 1), ("metasim", 2), ("random", 0)
    ]  # fmt: skip
    first = rows[0]
    assert (first["test_score"], first["prior_score"], first["oracle_score"], first["gap_closed"]) == (
        0.6,
        0.2,
        0.8,
        0.5,
    )
    assert first["metrics"] == {"mmd2": {"first": 2.0, "last": 0.5}} and first["mmd2_ratio"] == 0.25
    assert first["recovered"]["lamp.power"] == 0.75 and first["recovered"]["lamp.tint"] is None
    assert (first["least_recovered"], first["least_recovered_attribute"]) == (0.75, "lamp.power")
    assert first["figures"] == {"mmd2_end": 0.4}
    assert first["command"] == "autosim run --algo metasim --seed 0"


def test_algorithms_have_median_and_quartiles_of_what_is_known(folders: list[Path]) -> None:
    algorithms = gather(folders, "toy")["algorithms"]
    assert algorithms["metasim"]["runs"] == 3
    assert algorithms["metasim"]["gap_closed"] == {"median": 0.7, "lower_quartile": 0.6, "upper_quartile": 0.8}
    assert algorithms["random"]["gap_closed"] is None and algorithms["random"]["images"]["median"] == 1200


def test_a_location_counts_as_one_vector() -> None:
    start = {"mean": 0.0}
    named: dict[str, dict[str, Any]] = {
        "ball.0.at_x": {"recovered": -3.0, "start": start}, "ball.0.at_y": {"recovered": 0.8, "start": start},
        "ball.0.at": {"recovered": 0.7}, "ball.1.x": {"recovered": 0.75, "start": start},
    }  # fmt: skip
    assert least_recovered(named) == (0.7, "ball.0.at")
    assert least_recovered({"a.b": {"recovered": None, "start": start}}) == (None, "")


@pytest.mark.parametrize("command", ["autosim run --out /a/b --seed 1", "autosim run --out=/a/b --seed 1"])
def test_a_command_is_kept_without_its_folder(command: str) -> None:
    assert without_out(command) == "autosim run --seed 1"


def test_real_runs_become_a_file_a_page_and_a_table_in_the_readme(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("README.md").write_text(DOCUMENT)
    for seed in ("0", "1"):
        arguments = ["--algo=walk", "--env=spot", "--workers=0", "--algo.iterations=2", f"--seed={seed}"]
        assert main(["run", *arguments, f"--out=run-{seed}"]) == 0
    capsys.readouterr()
    assert evidence_main(["run-0", "run-1", "--name=toy", "--out=results", "--documents"]) == 0
    assert capsys.readouterr().out.split() == ["results/toy.json", "results/toy.md", "README.md"]
    record = read_record(Path("results/toy.json"))
    summary = json.loads(Path("run-0/summary.json").read_text())
    row = record.rows[0]
    assert record.seeds == [0, 1] and record.commit is None
    assert row["gap_closed"] == summary["gap_closed"] and row["target_seed"] is None
    assert row["recovered"]["spot.location"] == summary["attributes"]["spot.location"]["recovered"]
    evidence = evidence_of(record)
    assert evidence is not None and Path("results/toy.md").read_text() == runs_document(evidence)
    text = Path("README.md").read_text()
    assert f"| walk | – | 0 | {summary['prior_score']:.3f} | {summary['test_score']:.3f} |" in text
    assert "**walk, median of 2**" in text and "old" not in text
    assert text.startswith("Before.\n\n<!-- evidence: toy -->\n|") and text.endswith(
        "<!-- end of evidence -->\n\nAfter.\n"
    )
    assert evidence_main(["--documents", "--out=results"]) == 0
    assert Path("README.md").read_text() == text


def record(table: Table, **others: Any) -> Record:
    """Results of which nothing but a table is known."""
    return Record(None, None, None, None, None, None, table, [], **others)


def test_a_document_shows_the_table_and_its_notes(tmp_path: Path) -> None:
    record(Table(("what", "is"), (("a|b", "1"),), "lr"), notes=["A.", "B."]).write(tmp_path / "ready.json")
    document = "<!-- evidence: ready -->\n<!-- end of evidence -->\n"
    shown = "| what | is |\n| --- | ---: |\n| a\\|b | 1 |\n\nA.\n\nB.\n<!-- end"
    assert shown in with_tables(document, tmp_path)


def test_a_document_may_show_some_columns(tmp_path: Path) -> None:
    table = Table(("what", "car, start", "why"), (("a", "1", "b"), ("c", "2", "d")), "lrl")
    record(table, notes=["A."]).write(tmp_path / "ready.json")
    document = "<!-- evidence: ready; why; car, start -->\n<!-- end of evidence -->\n"
    shown = "| why | car, start |\n| --- | ---: |\n| b | 1 |\n| d | 2 |\n<!-- end"
    assert shown in with_tables(document, tmp_path)
    with pytest.raises(UserError, match="has no column 'who', only 'what', 'car, start', 'why'"):
        with_tables(document.replace("why", "who"), tmp_path)


def test_documents_hold_tables_that_can_be_read() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for line in document.read_text(encoding="utf-8").splitlines():
            if re.fullmatch(r"\|( *:?-+:? *\|)+", line):
                assert line.count("|") - 1 <= 7, f"{document.name}: a table of {line.count('|') - 1} columns"


def test_checks_become_a_table() -> None:
    failed = {**CHECK, "name": "a|b", "figure": "12 %", "holds": False}
    assert checks_table([CHECK, failed]).markdown().splitlines()[2:] == [
        "| gradient | cosine ≥ .95 | 0.988 | yes |",
        "| a\\|b | cosine ≥ .95 | 12 % | **no** |",
    ]


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    text = with_tables(DOCUMENT, tmp_path)
    assert "*Not measured yet: there is no `toy.json` among the results.*" in text
    assert with_tables(text, tmp_path) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nothing\n", "has no line <!-- evidence: NAME -->"),
        ("<!-- evidence: a -->\n", "<!-- evidence: a --> is not followed by"),
        ("<!-- evidence: a -->\n<!-- evidence: b -->\n<!-- end of evidence -->\n", "<!-- evidence: a --> is not"),
    ],
)
def test_documents_without_a_place_for_tables_are_refused(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        with_tables(text, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["nothing to do"]),
        (["good"], ["--name NAME is needed"]),
        (["--name=x"], ["no run folders"]),
        (["good", "--name=a/b"], ["--name: 'a/b'"]),
        (["good", "--nam=x"], ["unknown option --nam", "--name"]),
        (["none", "--name=x"], ["run folder none: config.yaml", "No such file"]),
        (["good", "good", "--name=x"], ["run folders good and good", "same run"]),
        (["stopped", "--name=x"], ["run folder stopped", "interrupted"]),
        (["lacking", "--name=x"], ["run folder lacking: summary.json has no 'gap_closed'"]),
        (["garbled", "--name=x"], ["run folder garbled/metrics.jsonl"]),
        (["good", "elsewhere", "--name=x"], ["several environments (other, toy)"]),
        (["good", "--name=checks"], ["checks.json holds figures of another kind"]),
        (["good", "--name=x", "--out=file"], ["file"]),
        (["--documents"], ["README.md", "docs/results.md"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("good", "stopped", "lacking", "garbled", "elsewhere")):
        run_folder(tmp_path, "metasim", 0, i, 0.5).rename(name)
    for name, change in (("stopped", {"interrupted": True}), ("elsewhere", {"env": "other"})):
        path = Path(name, "summary.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    path = Path("lacking/summary.json")
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "gap_closed"}))
    Path("garbled/metrics.jsonl").write_text("{")
    Path("file").write_text("kept")
    record(checks_table([CHECK])).write(tmp_path / RESULTS / "checks.json")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert evidence_main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.err.startswith("evidence: ")
    for part in parts:
        assert part in captured.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_documents_tables_are_those_of_the_committed_results(document: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert with_tables(text, ROOT / RESULTS) == text


def test_the_pages_beside_the_committed_results_are_those_of_their_figures() -> None:
    pages = {path.with_suffix(".md"): evidence_of(read_record(path)) for path in (ROOT / RESULTS).glob("*.json")}
    found = {path: evidence for path, evidence in pages.items() if evidence is not None}
    assert found
    for path, evidence in found.items():
        assert path.read_text(encoding="utf-8") == runs_document(evidence)
