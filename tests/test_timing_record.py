"""Runs on disk: what is written comes back, and what is cut off, damaged or of others is told."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from camzoo.errors import RequestError
from camzoo.timing import record
from camzoo.timing.samples import Case, Counts, Outcome, Row, Run, Sample, Scope

CASE = Case("resnet18", batch=2, scope=Scope.MAP)
COUNTS = Counts(1, 2, 2, 1, 3, 4096, 10**12, 9 * 10**11)
GOOD = Row(
    CASE,
    "gradcam",
    "gradcam",
    "camzoo",
    Outcome.OK,
    verdict="agrees",
    first=(0.5, 0.25),
    warmups=(6, 7),
    alike=(True, False),
    samples=(Sample(0, 0, 0.1, (0.05, 0.06)), Sample(1, 0, 0.1 + 1e-17, (1 / 3, 0.1), 0.09)),
    counts=COUNTS,
    peak_bytes=123,
    forward_peak_bytes=100,
    distance=1.5e-7,
    reference="camzoo's own map in float64",
)
BAD = Row(CASE, "x:y", "gradcam", "x:y", Outcome.FAILED, "ValueError: <b>", distance=math.inf)
RUN = Run((GOOD, BAD, replace(GOOD, case=replace(CASE, batch=8))), "camzoo bench", {"cores": 2, "load": [0.5]})


def plain(run):
    return run.rows, run.command, dict(run.environment), run.finished


@pytest.mark.parametrize("finished", [True, False])
def test_what_is_written_comes_back(tmp_path, finished):
    run = replace(RUN, finished=finished)
    path = record.save(run, tmp_path / "out" / "bench.json")
    assert plain(record.load(path)) == plain(run)
    assert plain(record.load(path.parent)) == plain(run)
    assert [file.name for file in path.parent.iterdir()] == ["bench.json"]


def test_the_file_is_plain_json(tmp_path):
    text = record.save(RUN, tmp_path / "bench.json").read_text()
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert stored["schema_version"] == record.SCHEMA_VERSION
    assert stored["rows"][0]["samples"]["seconds"] == [0.1, 0.1 + 1e-17]


def test_an_earlier_file_stays_whole_where_writing_fails(tmp_path):
    path = record.save(RUN, tmp_path / "bench.json")
    before = path.read_text()
    with pytest.raises(TypeError):
        record.save(replace(RUN, environment={"device": object()}), path)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 1, "cases": [{"model": 1}], "rows": []}', "null"],
)
def test_a_damaged_file_is_told_in_one_line(tmp_path, text):
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(RequestError, match="holds no benchmark that can be read") as error:
        record.load(tmp_path)
    assert "\n" not in str(error.value)


def test_another_schema_is_told(tmp_path):
    (tmp_path / "bench.json").write_text('{"schema_version": 99}')
    with pytest.raises(RequestError, match="schema 99, this camzoo reads 1"):
        record.load(tmp_path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(RequestError, match="holds no benchmark"):
        record.load(tmp_path / "nothing.json")


NAME = ("x:y=gradcam", "x:y", "gradcam", "x:y")
LINES = [
    {"kind": "examined", "case": 0, "contender": "x:y=gradcam", "of_check": ["agrees", ""], "verdict": "agrees"}
    | {"verdict_reason": "", "distance": 1e-6, "reference": "r", "counts": dict.fromkeys(Counts.__slots__, 1)},
    {"kind": "first", "case": 0, "contender": "x:y=gradcam", "process": 0, "seconds": 2.0, "warmups": 3}
    | {"alike": True},
    {
        "kind": "sample",
        "case": 0,
        "contender": "x:y=gradcam",
        "process": 0,
        "round": 0,
        "seconds": 1.0,
        "passes": [0.5, 0.6],
    }
    | {"device_seconds": None},
    {"kind": "memory", "case": 0, "contender": "x:y=gradcam", "peak_bytes": 9, "forward_peak_bytes": 8},
]


def test_lines_become_a_row():
    (row,) = record.rows([CASE], [NAME], LINES)
    assert row == Row(
        CASE,
        *NAME[1:],
        Outcome.OK,
        verdict="agrees",
        first=(2.0,),
        warmups=(3,),
        alike=(True,),
        samples=(Sample(0, 0, 1.0, (0.5, 0.6)),),
        counts=Counts(1, 1, 1, 1, 1, 1, 1, 1),
        peak_bytes=9,
        forward_peak_bytes=8,
        distance=1e-6,
        reference="r",
    )


def test_whether_calls_became_alike_is_kept():
    lines = [line | ({"alike": False} if line["kind"] == "first" else {}) for line in LINES]
    (row,) = record.rows([CASE], [NAME], lines)
    assert row.alike == (False,)
    assert row.unsettled


def test_an_outcome_says_why_and_the_samples_stay():
    line = {"kind": "outcome", "case": 0, "contender": "x:y=gradcam", "outcome": "out of memory", "reason": "too much"}
    (row,) = record.rows([CASE], [NAME], [*LINES, line])
    assert (row.outcome, row.reason, len(row.samples)) == (Outcome.OUT_OF_MEMORY, "too much", 1)


def test_what_was_not_reached_is_told():
    (row,) = record.rows([CASE], [NAME], LINES[:2])
    assert (row.outcome, row.reason) == (Outcome.FAILED, "the run ended before it was timed")


def test_rows_come_in_order_of_cases_and_contenders():
    other = ("gradcam", "gradcam", "gradcam", "camzoo")
    cases = [CASE, replace(CASE, batch=4)]
    rows = record.rows(cases, [NAME, other], LINES)
    assert [(row.case.batch, row.contender) for row in rows] == [(2, "x:y"), (2, "gradcam"), (4, "x:y"), (4, "gradcam")]


def test_a_line_that_was_cut_off_is_taken_away(tmp_path):
    for line in LINES:
        record.append(tmp_path, line)
    path = tmp_path / record.LINES
    whole = path.read_text()
    path.write_text(whole + '{"kind": "sam')
    assert record.read_lines(tmp_path) == LINES
    assert path.read_text() == whole
    record.append(tmp_path, {"kind": "after"})
    assert record.read_lines(tmp_path)[-1] == {"kind": "after"}


def test_a_line_that_was_cut_off_amid_a_letter_is_taken_away_and_no_other_touched(tmp_path, monkeypatch):
    record.append(tmp_path, LINES[0])
    path = tmp_path / record.LINES
    whole = path.read_bytes()
    path.write_bytes(whole + '{"reason": "\u00fc'.encode()[:-1])
    monkeypatch.setattr(type(path), "write_text", lambda *_a, **_k: pytest.fail("it was written again"))
    assert record.read_lines(tmp_path) == LINES[:1]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("distance", [math.inf, math.nan])
def test_lines_are_plain_json_and_their_distances_come_back(tmp_path, distance):
    record.append(tmp_path, LINES[0] | {"distance": distance})
    text = (tmp_path / record.LINES).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (row,) = record.rows([CASE], [NAME], record.read_lines(tmp_path))
    assert str(row.distance) == str(distance)


def test_a_line_that_is_none_is_told(tmp_path):
    (tmp_path / record.LINES).write_text("{}\nnonsense\n{}\n")
    with pytest.raises(RequestError, match="cannot be read"):
        record.read_lines(tmp_path)


@pytest.mark.parametrize(
    ("files", "resume", "said"),
    [
        ({"samples.jsonl": ""}, False, "go on with --resume"),
        ({}, True, "leave --resume out"),
        ({"holiday.png": ""}, False, "something else"),
        ({"holiday.png": ""}, True, "leave --resume out"),
    ],
)
def test_a_folder_that_does_not_suit_is_refused(tmp_path, files, resume, said):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(RequestError, match=said):
        record.check_free(tmp_path, resume)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(RequestError, match="folder with --out"):
            record.check_free(folder, False)


def test_a_folder_that_suits_is_not_made_before_there_is_something_to_keep(tmp_path):
    record.check_free(tmp_path / "new", False)
    record.check_free(tmp_path, False)
    assert list(tmp_path.iterdir()) == []
