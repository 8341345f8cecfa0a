"""The page of a run: whole, small, readable anywhere, and never written by a candidate."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_run import Sample, sample

from pytest_vibeserve.errors import UsageError
from vibeserve_loop.commands.html_report import LARGEST, report
from vibeserve_loop.ledger.runs import create
from vibeserve_loop.records import Settings
from vibeserve_loop.report_page.markup import element

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
HOSTILE = (
    "</pre></details><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\x00&amp;"
)


class Seen(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def written(*words: str | Path) -> str:
    done = CliRunner().invoke(report, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return Path(done.output.split(" holds the page")[0]).read_text(encoding="utf-8")


def test_a_page_tells_the_whole_run(tmp_path: Path) -> None:
    seen = Seen(written(sample(tmp_path).path, "-o", tmp_path / "page.html"))
    for told in (
        "The winner is round 3: x3.00", "2 of 3", "text 2", "0.25 USD", "x1.50 [", "+# round 3",
        "pytest --vibeserve-candidate 3", "10 MB at 10 GB/s", "30.0 %", "some.check", "cpu, 2 cores", "ttft_p50 at c16",
        "itl at poisson", "6 were never answered", "since the parent: decode 25% to 38%",
    ):  # fmt: skip
        assert told in seen.text, told
    assert sum(tag == "details" for tag, _ in seen.tags) == 2 * 5
    titles = {"Improvement", "Rounds", "Latencies", "Trade-off", "Share of the bound", "Environment", "Do it again"}
    assert all(title in seen.text for title in titles)


def test_a_page_needs_nothing_else_and_has_a_dark_face(tmp_path: Path) -> None:
    page = written(sample(tmp_path).path, "-o", tmp_path / "page.html")
    seen = Seen(page)
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not [attributes for _, attributes in seen.tags if {"src", "href"} & attributes.keys()]
    assert not re.search(r"url\(|@import|https?://", page)
    assert "prefers-color-scheme: dark" in page
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in seen.tags


def test_no_text_of_a_candidate_becomes_markup(tmp_path: Path) -> None:
    plain = Seen(written(sample(tmp_path, "amber").path, "-o", tmp_path / "plain.html"))
    seen = Seen(written(sample(tmp_path, "basalt", HOSTILE).path, "-o", tmp_path / "hostile.html"))
    assert {tag for tag, _ in seen.tags} == {tag for tag, _ in plain.tags}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert seen.text.count("<script>document.title='taken'</script>") > 20
    assert "\x00" not in seen.text


@settings(deadline=None)
@given(st.text(), st.text())
def test_an_element_gives_back_the_text_that_it_was_given(inside: str, attribute: str) -> None:
    seen = Seen(element("p", inside, title=attribute))
    expected = "".join(sign if sign >= " " or sign in "\n\t" else "\ufffd" for sign in inside)
    assert (seen.text, [tag for tag, _ in seen.tags]) == (expected, ["p"])


@pytest.mark.parametrize(
    ("count", "text", "told"), [(8, "", "more lines: vibeserve-loop show"), (70, "<&>\"'" * 60, "more rounds")]
)
def test_a_large_run_stays_small_and_says_where_the_rest_is(tmp_path: Path, count: int, text: str, told: str) -> None:
    made = Sample(tmp_path, "large", text)
    for number in range(count):
        made.work(100.0 + number, "\n".join(f"# {number} {line} <&>" for line in range(400)))
    page = written(made.folder.path, "-o", tmp_path / "page.html")
    assert len(page.encode()) < LARGEST
    assert told in page


def test_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    sample(tmp_path, "amber")
    sample(tmp_path, "cedar")
    seen = Seen(written("--compare", "amber", "cedar", "--runs", tmp_path))
    assert (tmp_path / "compare-amber-cedar.html").is_file()
    assert sum(attributes.get("class") == "pair" for _, attributes in seen.tags) == 6
    assert {"amber-3", "cedar-3"} <= {attributes.get("id") for _, attributes in seen.tags}


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    folder = create(Settings(schema=1, id="early", created=1.0, target="lab"), tmp_path)
    assert "The starter has not been accepted." in written(folder.path)
    assert (folder.path / "report.html").is_file()


def test_a_missing_report_of_the_gate_costs_no_page(tmp_path: Path) -> None:
    folder = sample(tmp_path)
    (folder.round(3) / "report.json").write_text("{torn")
    (folder.round(4) / "report.json").unlink()
    assert "The winner is round 3" in written(folder.path)


def test_a_run_and_a_comparison_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="either RUN or --compare"):
        CliRunner().invoke(report, ["amber", "--compare", "a", "b"], catch_exceptions=False)


def test_the_trade_off_says_who_is_beaten_for_sure_and_what_was_not_compared(tmp_path: Path) -> None:
    told = Seen(written(sample(tmp_path).path, "-o", tmp_path / "page.html")).text
    assert "Another round stands above 0, 1, 2 in both by whole intervals." in told
    assert "gain in ttft_p50 at c16" in told
    assert "neither is shown to dominate at c16 (2 objectives)" in told
    new = Sample(tmp_path, "new")
    assert "No two objectives have been compared yet." in written(new.folder.path, "-o", tmp_path / "new.html")


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: install the package `chromium`")
def test_a_browser_shows_the_page_on_a_desk_and_on_a_phone_and_runs_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    written(sample(tmp_path, "amber", HOSTILE).path, "-o", page)
    headless = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    pictures = []
    for name, *options in (
        ("desk", "--window-size=1100,1600"),
        ("phone", "--window-size=400,1600"),
        ("dark", "--force-dark-mode"),
    ):
        picture = tmp_path / f"{name}.png"
        subprocess.run(
            [*headless, *options, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True, timeout=60
        )
        pictures.append(picture.read_bytes())
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 10_000 for picture in pictures)
    assert len(set(pictures)) == 3
    shown = subprocess.run(
        [*headless, "--dump-dom", page.as_uri()], check=True, capture_output=True, text=True, timeout=60
    )
    assert "<title>lab, run amber</title>" in shown.stdout
