"""The page: every row is on it, what is not ranked says why, the false-alarm rate is told, outside text is text."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import pytest
from synthetic import ENVIRONMENT, failed, row, run

from camzoo.timing import rehearsal
from camzoo.timing.page import Files, page
from camzoo.timing.samples import Case, Outcome, Scope

BATCHES = [Case("net", batch=size) for size in (1, 2, 4)]
NET, OTHER = Case("net", weights="random"), Case("other", weights="random")


def rows(case: Case = NET, seed: int = 0):
    return [
        row("gradcam", 1.1, case, seed=seed),
        row("gradcam@captum", 3.3, case, seed=seed + 1),
        row("gradcam@torchcam", 1.1, case, seed=seed + 2),
        row(
            "eigencam@torchcam",
            2.7,
            case,
            seed=seed + 3,
            verdict="differs, known",
            verdict_reason="the columns are <b>centred</b>",
        ),
        row("fem", 1.0, case, seed=seed + 4, within=0.12),
        row("layercam", 1.0, case, seed=seed + 5, within=0.4),
        failed("sscam", Outcome.OUT_OF_MEMORY, "44 GiB", case),
    ]


@pytest.fixture(scope="module", autouse=True)
def _a_short_rehearsal():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "rehearsed", functools.partial(rehearsal.rehearsed, pairs=20))
        patch.setattr(rehearsal, "sensitivity", lambda _run: "10% would take 15 rounds in 3 processes")
        yield


@pytest.fixture(scope="module")
def text() -> str:
    return page([run(*rows(), *rows(OTHER, 10), failed("legrad", Outcome.NOT_OFFERED, "no attention", OTHER))])


def test_a_table_of_contenders_by_model(text) -> None:
    lines = text.splitlines()
    assert "| forward passes | net | other |" in lines
    assert any(re.fullmatch(r"\| `gradcam` \| 1\.\d\d \[1.\d\d, 1.\d\d\] \| 1\.\d\d \[.*\] \|", line) for line in lines)
    assert any(line.startswith("| `eigencam@torchcam` | (2.") and "differs, known |" in line for line in lines)
    assert any(line.startswith("| `fem` |") and line.count("\\*") == 2 for line in lines)
    assert any(line.startswith("| `layercam` |") and "too noisy" in line for line in lines)
    assert "| `sscam` | out of memory | out of memory |" in lines
    assert "| `legrad` |  | not offered |" in lines


def test_too_few_samples_have_a_figure_and_no_place() -> None:
    lines = page([run(row("gradcam", 1.1, NET), row("scorecam", 90.0, NET, rounds=1))]).splitlines()
    assert any(re.fullmatch(r"\| `scorecam` \| \(\d+\.\d(\\\*)?\) too few samples to rank \|", line) for line in lines)
    assert any(re.match(r"\| not ranked \| `scorecam` \| \d+\.\d(\\\*)? \|", line) for line in lines)
    assert any(line.startswith("- `scorecam`: too few samples to rank: 3 in 3 processes (net") for line in lines)


def test_each_library_is_held_against_camzoo_by_paired_ratios(text) -> None:
    _, _, after = text.partition("by paired ratios within each round:")
    table = after.partition("<details>")[0]
    assert re.search(r"`gradcam@captum` \| [23]\.\d\d \[", table)
    assert re.search(r"`gradcam@torchcam` \| tie, ", table)
    assert "eigencam@torchcam" not in table
    assert "- `captum`: of 2 pairs camzoo costs less in 2 and more in 0, 0 are ties; the median ratio is " in table
    assert "- `torchcam`: of 2 pairs camzoo costs less in 0 and more in 0, 2 are ties;" in table


def test_every_figure_of_every_row_is_folded_away(text) -> None:
    assert text.count("<details>") == text.count("</details>") == 3
    line = next(line for line in text.splitlines() if re.match(r"\| \d \| `gradcam` \|", line))
    assert line.count("|") == 18
    assert "| 45 in 3 | 1 | 1 | 1 | 1 | 0 | 586 KiB | 1.00 | 28.6 MiB | 2e-07 |" in line


def test_the_time_on_a_device_is_told_where_there_is_any(text) -> None:
    assert "device time" not in text
    measured = row("gradcam", case=NET)
    on_device = tuple(replace(each, device_seconds=0.0321) for each in measured.samples)
    made = page([run(replace(measured, samples=on_device), row("fem", case=NET))]).splitlines()
    at = next(line for line in made if line.startswith("| place")).split(" | ").index("device time")
    cells = {cells[1]: cells for line in made if len(cells := line.split(" | ")) > at}
    assert cells["`gradcam`"][at] == "32.1 ms"
    assert cells["`fem`"][at] == ""


def test_what_a_forward_pass_takes_is_told() -> None:
    made = page([run(row("gradcam", case=NET, forward=0.05, within=0))])
    assert "<summary>net 1x224 float32 cpu array: every figure; a forward pass takes 50.0 ms</summary>" in made


def test_what_is_not_ranked_says_why_and_where(text) -> None:
    _, _, after = text.partition("## Not ranked, and why")
    assert "- `sscam`: out of memory: 44 GiB (net 1x224 float32 cpu array; other 1x224 float32 cpu array)" in after
    assert "- `legrad`: not offered: no attention (other" in after
    assert "- `layercam`: too noisy to rank" in after
    assert "- `eigencam@torchcam`: differs, known: the columns are &lt;b&gt;centred&lt;/b&gt; (" in after


def test_the_measured_false_alarm_rate_is_told(text) -> None:
    assert re.search(r"the false alarms, unchanged\s+rows called slower or faster, are \d+ \(\d+\.\d%\)", text)
    assert re.search(r"a slowdown of 10% was found in \d+ \(\d+\.\d%\)", text)
    assert "12 of 15 rows were measured." in text
    assert "above 10 % of the median in 4 of them, and above 25 %, so that no place is given, in 2." in text


def test_calls_that_never_became_alike_are_told() -> None:
    warm, cold = row("gradcam", case=NET), row("layercam", case=NET, alike=(True, False, True), warmups=(6, 12, 6))
    said = "Before the clock ran there were 6 calls after the first, 12 at the most"
    assert f"{said}; in 1 of 2 rows they never became alike." in page([run(warm, cold)])


def test_what_it_was_measured_with_is_told(text) -> None:
    assert "- versions: torch: 9.9" in text
    assert "- cores: 2" in text
    assert "Made by `camzoo bench --model resnet50`." in text


def test_files_stand_beside_their_run() -> None:
    made = page([run(*rows())], [Files("../results/x.json", {"Cost": "performance/x.png"})])
    assert "[raw samples](../results/x.json)" in made
    assert "![Cost](performance/x.png)" in made


def test_scopes_have_tables_of_their_own() -> None:
    made = page([run(*rows(), *rows(replace(NET, scope=Scope.MAP)))])
    headings = [line for line in made.splitlines() if line.startswith("### ")]
    assert [heading.rpartition(", ")[2] for heading in headings] == ["full-size array on the host", "map on the device"]


def test_growth_has_exponents_and_what_is_missing() -> None:
    found = [row("gradcam", 1.1, case, seed=case.batch, forward=0.01 * case.batch) for case in BATCHES]
    found += [row("sscam", 5.0, case, forward=0.01 * case.batch) for case in BATCHES[:2]]
    found.append(failed("sscam", Outcome.OUT_OF_MEMORY, "no", BATCHES[2]))
    lines = page([run(*found)]).splitlines()
    assert "| images at a time | 1 | 2 | 4 | exponent | away from the line |" in lines
    assert any(re.match(r"\| `gradcam` \| 1\d\.\d ms \| .* \| (0\.9|1\.0)\d \[", line) for line in lines)
    assert any(re.match(r"\| `sscam` \| .* ms \| .* ms \| out of memory \|  \|  \|", line) for line in lines)
    assert any(line.startswith("| a plain forward pass | 10.") for line in lines)


def test_a_repetition_is_held_against_the_run_and_not_tabulated() -> None:
    first, second = run(*rows()), run(*rows(seed=40), environment=ENVIRONMENT | {"cores": 64})
    made = page([first, second])
    assert made.count("| forward passes | net |") == 1
    assert re.search(r"run twice: the intervals of \d of 3 paired ratios", made)
    assert "The two were not made alike: cores: 2 before, 64 now." in made


def test_other_contenders_at_the_same_work_are_no_repetition() -> None:
    made = page([run(row("gradcam", 1.1, NET)), run(row("layercam", 1.2, NET))])
    assert made.count("| forward passes | net |") == 2
    assert "run twice" not in made


def test_an_interrupted_run_says_so() -> None:
    assert "It was interrupted" in page([run(*rows(), finished=False)])
    assert "It was interrupted" not in page([run(*rows())])


def test_no_run_or_nothing_measured_is_a_page_too() -> None:
    assert page([]).startswith("# What an explanation costs")
    made = page([run(failed("sscam", Outcome.FAILED, "broke", NET))])
    assert "| `sscam` | failed |" in made
    assert "no noise to rehearse" in made


EVIL = "<script>alert(1)</script> | [x](javascript:y) `code` *bold*\n\n# heading"


def test_text_from_outside_stays_text() -> None:
    case = Case(EVIL, weights=EVIL, layer=EVIL)
    found = [
        replace(row("x", case=case), contender=EVIL, backend=EVIL, reference=EVIL),
        failed("y", Outcome.FAILED, EVIL, case),
    ]
    made = page([run(*found, command=EVIL, environment={"cpu": EVIL, "versions": {EVIL: EVIL}})])
    outside = re.sub(r"`[^`\n]*`", "", made)  # what stands in backticks is shown as it is
    assert "<script>" not in outside
    assert "[x](" not in outside
    assert "\n# heading" not in made.replace("# What", "", 1)
    tables = [line for line in made.splitlines() if line.startswith("| ")]
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert counts <= {3, 18}
