"""The page of a large cohort in a real browser: usable, silent on the network, and inert to hostile names."""

import csv
import importlib.util
import io
import shutil

import pytest
from benchmark_files import load_benchmark
from making_study import Cohort

from dtcseg.results.folder import refresh

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
MISSING = [
    name
    for name, there in (
        ("chromium", CHROMIUM),
        ("chromedriver", DRIVER),
        ("the package selenium", importlib.util.find_spec("selenium")),
    )
    if not there
]
needs_browser = pytest.mark.skipif(
    bool(MISSING), reason=f"no browser to open the page in: {', '.join(MISSING)} missing"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1366,768",
)
HOSTILE = ("<img src=x onerror=alert(1)>", "=cmd|'/C calc'!A0", "</script><script>alert(1)</script>")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder of 60 patients, four time points and four slides each, made without an image."""
    root = tmp_path_factory.mktemp("report") / "results"
    load_benchmark("report").make_cohort(root, 60, 4, 4)
    assert refresh(root).warnings == ()
    return root


@pytest.fixture(scope="module")
def browser(results, tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get((results / "report.html").as_uri())
        yield driver
    finally:
        driver.quit()


def names(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('#patients tbody .link')].map(e => e.textContent)"
    )


def search(browser, text):
    box = browser.find_element("id", "search")
    box.clear()
    box.send_keys(text) if text else box.send_keys(" ", "\b")


def open_patient(browser, name):
    """Click on a patient; the milliseconds from the click to what is drawn, measured in the page."""
    return browser.execute_async_script(
        """
        const [name, done] = arguments;
        const link = [...document.querySelectorAll('#patients tbody .link')].find(e => e.textContent === name);
        const start = performance.now();
        delete document.body.dataset.drawnMs;
        link.click();
        const wait = () => document.body.dataset.drawnMs
          ? done(performance.now() - start) : requestAnimationFrame(wait);
        wait();
        """,
        name,
    )


def test_names_are_inert_in_the_tables(results):
    rows = list(csv.DictReader(io.StringIO((results / "patients.csv").read_text("utf-8"), newline="")))
    patients = {row["patient"] for row in rows}
    assert {HOSTILE[0], f"'{HOSTILE[1]}", HOSTILE[2]} <= patients
    for file in ("patients.csv", "slides.csv"):
        table = csv.reader(io.StringIO((results / file).read_text("utf-8"), newline=""))
        assert not [cell for row in table for cell in row if cell.startswith(("=", "@", "\t"))]


@needs_browser
@pytest.mark.slow
def test_search_sort_and_open(browser):
    assert len(names(browser)) == 60
    search(browser, "P0042")
    assert names(browser) == ["P0042"]
    search(browser, "nobody")
    assert names(browser) == []
    search(browser, "")
    assert len(names(browser)) == 60
    sort = browser.find_element("css selector", '#patients th[data-sort="dtc"] button')
    sort.click()
    counts = browser.execute_script(
        "return [...document.querySelectorAll('#patients tbody tr')].map(r => Number(r.cells[5].textContent))"
    )
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    fullest = names(browser)[0]
    times = []
    for _ in range(5):
        times.append(open_patient(browser, fullest))
        view = browser.find_element("id", "view")
        assert fullest in view.text
        assert len(view.find_elements("css selector", "svg[role=img]")) == 1
        assert browser.execute_script(
            "return [...document.querySelectorAll('.cell img')].every(e => e.complete && e.naturalWidth && "
            "Math.abs(e.clientWidth - e.parentNode.clientWidth) < 2 && e.clientHeight <= e.parentNode.clientHeight)"
        )  # whole, so that the scale bar is seen
        assert view.find_elements("css selector", ".cell img")
        assert "CK granularity" in view.text
        assert "Nucleus ratio" in view.text
        browser.find_element("id", "back").click()
    assert min(times) < 200, times


@needs_browser
@pytest.mark.slow
def test_hostile_names_are_text(browser):
    for name in HOSTILE:
        search(browser, "")
        assert name in names(browser)
        open_patient(browser, name)
        view = browser.find_element("id", "view")
        assert name in view.find_element("css selector", "h2").text
        assert not browser.execute_script("return document.querySelectorAll('img[onerror], [src=x]').length")
        browser.find_element("id", "back").click()
    assert browser.execute_script("return document.querySelectorAll('body script').length") == 62


@needs_browser
@pytest.mark.slow
def test_paper_holds_the_patients_with_dtc(browser):
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    blocks = browser.execute_script("return document.querySelectorAll('#print .patient-block').length")
    positive = browser.execute_script(
        "return JSON.parse(document.getElementById('data').textContent).patients.filter(p => p.dtc > 0).length"
    )
    assert blocks == positive > 0
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script("return document.querySelectorAll('#print *').length") == 0


@needs_browser
@pytest.mark.slow
def test_overview_and_numbers_stand_without_javascript(browser, results):
    page = browser.current_url.partition("#")[0]
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page)
        text = browser.find_element("tag name", "body").text
        assert "Results by time point" in text
        assert "P0042" in text
        assert HOSTILE[0] in text
        assert not browser.find_element("id", "search").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        browser.get(page)


@needs_browser
@pytest.mark.slow
def test_nothing_was_asked_for_and_nothing_went_wrong(browser):
    import json

    asked = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        # what the browser's own first page asks for is not ours
        if message["method"] == "Network.requestWillBeSent" and message["params"]["documentURL"].startswith("file:"):
            asked.add(message["params"]["request"]["url"].partition(",")[0].partition(";")[0])
    assert {url for url in asked if not url.startswith(("file:", "data:image/png", "data:image/jpeg"))} == set()
    assert {url for url in asked if url.startswith("file:")} == {browser.current_url.partition("#")[0]}
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


@needs_browser
@pytest.mark.slow
def test_rates_of_five_digits_have_room_beside_the_axis(browser, tmp_path):
    cohort = Cohort(tmp_path)
    cohort.slide("P1", "baseline", 300, mnc=15_000)
    assert refresh(cohort.root).warnings == ()
    browser.get((cohort.root / "report.html").as_uri())
    texts, least = browser.execute_script(
        "const marks = [...document.querySelectorAll('svg[aria-label^=\"DTC rates\"] text[text-anchor=end]')];"
        "return [marks.map(e => e.textContent), Math.min(...marks.map(e => e.getBBox().x))]"
    )
    assert texts[-1] == "20000"
    assert least >= 0
