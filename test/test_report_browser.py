"""The report in a real browser: it opens from the file system, and what can be clicked, scrubbed and typed works."""

from __future__ import annotations

import base64
import shutil
import time

import pytest
import recordings
from recordings import START, drive, write

from safety_supervisor.replay.command import replay

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with its driver here (apt: chromium-driver)"),
    pytest.mark.xdist_group("browser"),
]
S = 10**9


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a drive with two interventions: the plan pauses, and ends."""
    path = tmp_path_factory.mktemp("browser")

    def planned(at):
        return at < 1.5 or 3.0 <= at < 6.0

    messages = [m for m in drive(7.0) if m[0] != "/policy/trajectory" or planned((m[2] - START) / S)]
    ghost = [("/scenario/unsupervised/odometry", recordings.ODOMETRY, START + i * S // 10,
              recordings.odometry(START + i * S // 10, 16.0 * i / 10, 16.0)) for i in range(70)]  # fmt: skip
    write(path / "drive", sorted([*messages, *ghost], key=lambda m: m[2]))
    replay(path / "drive", path / "out")
    return f"file://{path / 'out' / 'report.html'}"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
                     "--disable-background-networking", "--window-size=1400,1000"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(DRIVER)
    with webdriver.Chrome(options=options, service=service) as driver:
        driver.set_page_load_timeout(120)
        yield driver


@pytest.fixture
def report(browser, page):
    """The page, freshly opened at desktop size in light colours; nothing may have gone wrong in the end."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    media(browser, "", "light")
    opened(browser, page)
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def opened(browser, address):
    """Open a page and wait for its load event, which comes when everything is there, and not earlier."""
    browser.get("about:blank")
    browser.get(address)
    assert browser.execute_script("return document.body.dataset.ready") == "all"


def until(holds, what, limit=90.0):
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def media(browser, kind, colours):
    features = [{"name": "prefers-color-scheme", "value": colours}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})


def js(browser, text, *arguments):
    return browser.execute_script(f"return {text}", *arguments)


def seconds(browser):
    return float(js(browser, 'document.getElementById("clock").textContent').split()[0])


def picture(browser):
    """Pixels of the bird's-eye view, as one number per picture."""
    return js(browser, 'document.getElementById("canvas").toDataURL()')


def press(browser, key, **more):
    browser.execute_script(
        "const event = {key: arguments[0], bubbles: true, ...arguments[1]};"
        "document.body.dispatchEvent(new KeyboardEvent('keydown', event))",
        key, more,
    )  # fmt: skip


def test_it_opens_at_the_first_intervention_and_says_what_happened(report):
    assert 1.6 < seconds(report) < 2.0
    story = js(report, 'document.getElementById("story").textContent')
    assert story.startswith("2 interventions, the strongest: comfort stop")
    assert js(report, 'document.querySelector("#now .mode").textContent') == "COMFORT STOP"
    assert len(report.find_elements("css selector", "#interventions tr.link:not(.phase)")) == 2


def test_a_click_on_an_intervention_goes_there(report):
    row = report.find_elements("css selector", "#interventions tr.link:not(.phase)")[1]
    before = picture(report)
    row.click()
    assert seconds(report) == pytest.approx(float(row.get_attribute("data-at")), abs=0.06)
    assert seconds(report) > 6.0
    assert "current" in row.get_attribute("class")
    assert picture(report) != before


def test_the_slider_scrubs(report):
    slider, seen = report.find_element("id", "slider"), set()
    for place in (0, 40, 80, 120):
        report.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", slider, place
        )
        assert seconds(report) == pytest.approx(place * 0.05, abs=0.01)
        seen.add(picture(report))
    assert len(seen) == 4
    assert "NOMINAL" in slider.get_attribute("aria-valuetext")


def test_it_plays_and_pauses(report):
    press(report, "Home")
    report.find_element("id", "play").click()
    until(lambda: seconds(report) > 0.3, "the picture to move on")
    report.find_element("id", "play").click()
    stopped = seconds(report)
    time.sleep(0.3)
    assert seconds(report) == stopped
    assert report.find_element("id", "play").text == "Play"


def test_keys_move_zoom_and_jump(report):
    press(report, "Home")
    assert seconds(report) == 0.0
    press(report, "ArrowRight")
    assert seconds(report) == pytest.approx(0.05)
    press(report, "ArrowRight", shiftKey=True)
    assert seconds(report) == pytest.approx(1.05)
    press(report, "n")
    first = seconds(report)
    press(report, "N")
    assert seconds(report) > first > 1.05
    press(report, "p")
    assert seconds(report) == first
    press(report, "End")
    assert seconds(report) == pytest.approx(7.0, abs=0.1)
    before = picture(report)
    press(report, "+")
    assert picture(report) != before
    row = report.find_elements("css selector", "#interventions tr.link")[0]
    row.send_keys("\ue007")  # Enter
    assert seconds(report) == first


def test_the_timeline_shows_modes_inputs_and_curves_and_a_click_in_it_goes_there(report):
    labels = js(report, '[...document.querySelectorAll("#plots .yaxislayer-above text")].map((t) => t.textContent)')
    assert {"mode", "odometry", "plan", "radar_front"} <= set(labels)
    names = js(report, '[...document.querySelectorAll("#plots .legendtext")].map((t) => t.textContent)')
    assert {"margin longitudinal", "ego speed", "demand"} <= set(names)
    target = report.find_element("css selector", "#plots .nsewdrag[data-subplot=xy3]")
    actions = webdriver.ActionChains(report)
    report.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
    actions.move_to_element_with_offset(target, round(target.rect["width"] * 0.1), 0).pause(0.2).click().perform()
    until(lambda: abs(seconds(report) - 0.6 * 7.0) < 0.2, "the click in the timeline")


def test_the_timeline_zooms_where_it_is_dragged(report):
    target = report.find_element("css selector", "#plots .nsewdrag[data-subplot=xy3]")
    report.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
    actions = webdriver.ActionChains(report)
    actions.move_to_element_with_offset(target, -100, 0).click_and_hold().move_by_offset(60, 0).move_by_offset(60, 0)
    actions.release().perform()
    zoomed = """(() => {
      const r = document.querySelector('#plots .js-plotly-plot')._fullLayout.xaxis.range;
      return r[1] - r[0];
    })()"""
    until(lambda: js(report, zoomed) < 3.0, "the zoom")
    report.find_element("id", "theme").click()  # a change of colours keeps it
    assert js(report, zoomed) < 3.0


def test_colours_follow_the_system_and_the_button(report, page):
    def background():
        return js(report, "getComputedStyle(document.body).backgroundColor")

    light, drawn = background(), picture(report)
    media(report, "", "dark")
    until(lambda: background() != light, "dark colours")
    assert picture(report) != drawn
    report.find_element("id", "theme").click()
    until(lambda: background() == light, "light colours by choice")
    opened(report, page)
    assert background() != light


def test_it_fits_a_phone(report, page):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    report.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    opened(report, page)
    assert js(report, "document.documentElement.scrollWidth") <= 390
    tops = '["stage", "controls", "now"].map((i) => document.getElementById(i).getBoundingClientRect().top)'
    order = js(report, tops)
    assert order == sorted(order)
    heights = js(report, '[...document.querySelectorAll("#controls button")].map((b) => b.clientHeight)')
    assert min(heights) >= 36
    report.find_element("id", "next").click()
    assert seconds(report) > 6.0


def test_paper_is_light_and_shows_every_row(report):
    media(report, "print", "dark")
    until(lambda: js(report, "document.documentElement.dataset.theme") == "light", "light paper")
    assert js(report, 'getComputedStyle(document.getElementById("controls")).display') == "none"
    hidden = '[...document.querySelectorAll("main > section > .scroll")].map((s) => s.scrollHeight - s.clientHeight)'
    assert max(js(report, hidden)) <= 1
    made = report.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(made["data"]).startswith(b"%PDF")


def test_the_picture_shows_ego_the_object_and_the_corridor(report):
    """What is drawn differs from the empty road in many pixels, and in the colours that belong there."""
    count = """(() => {
      const c = document.getElementById("canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      const near = (r, g, b) => { let n = 0; for (let i = 0; i < d.length; i += 4)
        if (Math.abs(d[i] - r) + Math.abs(d[i + 1] - g) + Math.abs(d[i + 2] - b) < 30 && d[i + 3] > 200) n += 1;
        return n; };
      return [near(224, 123, 22), near(31, 95, 192), near(194, 65, 12)];
    })()"""
    ego, path, fallback = js(report, count)
    assert ego > 200  # its body in the colour of the mode
    assert path > 200
    assert fallback > 20


def test_a_link_may_name_a_moment(report, page):
    opened(report, f"{page}#t=2.5")
    assert seconds(report) == pytest.approx(2.5)
