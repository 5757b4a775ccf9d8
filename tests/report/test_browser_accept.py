"""Pages in a real browser: nothing is loaded, nothing is wrong, all is visible on wide and narrow, light and dark."""

import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import kansci as ks
from kansci.symbolic.suggest import Suggestion

sync_api: Any = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install kansci[browser]")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BINARY = next((found for name in BROWSERS if (found := shutil.which(name))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BINARY is None, reason=f"needs one of {', '.join(BROWSERS)}")]

LONG = (
    "m_0/sqrt(1-v**2/c**2)*exp(-(x_1-x_2)**2/(2*sigma**2))*(sin(theta_1)**2+cos(theta_2)**3+tanh(5*x_1*x_2))"
    " + log(1+sqrt((x_1-x_2)**2+(y_1-y_2)**2))*besselj(0,20*x_1)/(2+0.1*theta_1) + exp(sin(pi*x_1)+y_1**2)"
)


def fitted() -> dict[str, Any]:
    x = torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    data = (x, torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2))
    solution = ks.fit(ks.MultKAN([2, 5, 1]), data, steps=10, progress=False)
    candidates = [Suggestion("sin", (2.0, 0.1, 1.0, 0.0), 0.1, 2, 0.0)]
    edge = ks.Edge(0, 0, 0)
    front = [(1, 0.5), (3, 0.4, "a x"), (5, 1e-9, "sin(x)"), (9, 9e-10)]
    figures = {
        "an edge": lambda: ks.plot.draw_edge(solution.model, edge, x, candidates=candidates),
        "a front": lambda: ks.plot.draw_pareto(front),
    }
    return {"title": "A fit", "solution": solution, "data": data, "figures": figures, "settings": {"width": [2, 5, 1]}}


def compiled() -> dict[str, Any]:
    model = ks.kanpile("3.7*exp(-(x - 0.5)^2/0.18)*sin(omega*t)", ["x", "omega", "t"])
    x = torch.rand(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = model(x).detach() + 1e-3 * torch.sin(100 * x[:, :1])
    return {"model": model, "data": (x, y), "names": ["x", "omega", "t"], "output_names": ["u"]}


def analyzed() -> dict[str, Any]:
    scores = SimpleNamespace(per_output=SimpleNamespace(inputs=np.ones((2, 30))))
    table = [("metric", *(f"method {number}" for number in range(12))), ("error", *np.logspace(-12, 0, 12))]
    return {"analysis": [scores, "a remark " * 50], "table": table, "metrics": {"e" * 80: 1.0, "failed": False}}


def hostile() -> dict[str, Any]:
    text = '"><script src="https://example.org/x.js"></script><img src=https://example.org/x.png onerror=alert(1)>'
    return {"title": text, "summary": text, "formula": text, "metrics": {text: text}, "settings": {text: text}}


PAGES = {
    "fit": fitted,
    "formula": compiled,
    "long formula": lambda: {"formula": [LONG, "x_1/y_2 + 1e-7*theta_1"]},
    "large network": lambda: {"model": ks.MultKAN([100, 10, 10, 1], grid=3)},
    "analysis": analyzed,
    "hostile": hostile,
    "empty": dict,
}


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BINARY)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {name: ks.report.write_report(folder / f"{name}.html", **of()) for name, of in PAGES.items()}


class Visit:
    """A page that is open, and what it complained of and asked for."""

    def __init__(self, chromium, path, width=1280, scheme="light") -> None:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page, self.complaints, self.requests = context.new_page(), [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def sizes(self, selector: str) -> list[list[float]]:
        script = f"[...document.querySelectorAll('{selector}')].map(e => e.getBoundingClientRect())"
        return [[box["width"], box["height"]] for box in self.page.evaluate(f"{script}.map(b => b.toJSON())")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole(chromium, files, name, width, scheme):
    visit = Visit(chromium, files[name], width, scheme)
    assert visit.complaints == [] and visit.requests == [files[name].as_uri()]
    root = visit.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert root == [width, width]
    visit.page.evaluate("document.querySelectorAll('details').forEach(own => { own.open = true; })")
    assert all(w > 10 and h > 10 for w, h in visit.sizes("math"))
    assert all(100 < w <= width and h > 100 for w, h in visit.sizes("figure svg"))
    root = visit.page.evaluate("document.documentElement.scrollWidth")
    assert root == width


@pytest.mark.parametrize("name", PAGES)
def test_letters_stand_out_from_paper(chromium, files, name):
    """Contrast of 4.5 and more, after the Web Content Accessibility Guidelines."""
    script = """() => [...document.querySelectorAll('h1, p, th, td, dt, dd, pre, figcaption, summary, a')].map(own => {
        let behind = own;
        while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)' && behind.parentElement)
            behind = behind.parentElement;
        return [getComputedStyle(own).color, getComputedStyle(behind).backgroundColor];
    })"""
    for scheme in ("light", "dark"):
        for pair in Visit(chromium, files[name], scheme=scheme).page.evaluate(script):
            light, dark = sorted((luminance(color) for color in pair), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, pair


def luminance(color: str) -> float:
    red, green, blue = (
        own / 12.92 if own <= 0.04045 else ((own + 0.055) / 1.055) ** 2.4
        for own in (int(part) / 255 for part in color[4:-1].split(","))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_figures_zoom_and_move_by_keys_buttons_and_mouse(chromium, files):
    page = Visit(chromium, files["large network"]).page
    canvas, svg = page.locator(".canvas").first, page.locator(".canvas svg").first

    def view() -> list[float]:
        return [float(own) for own in svg.get_attribute("viewBox").split()]

    whole = view()
    canvas.focus()
    page.keyboard.press("ArrowRight")
    assert view() == whole
    page.keyboard.press("+")
    near = view()
    assert near[2] < whole[2] and near[2] / near[3] == pytest.approx(whole[2] / whole[3])
    page.keyboard.press("ArrowRight")
    assert view()[0] > near[0]
    page.keyboard.press("0")
    assert view() == whole
    page.get_by_role("button", name="zoom in").first.click()
    close = view()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 150)
    page.mouse.up()
    assert view()[0] > close[0] and view()[1] > close[1]
    page.get_by_role("button", name="show all").first.click()
    assert view() == whole


def test_parts_of_formulas_open_and_close(chromium, files):
    visit = Visit(chromium, files["long formula"])
    part = visit.page.locator("details", has=visit.page.locator(".part")).first
    before = visit.sizes(".part math")[0]
    part.locator("summary").click()
    assert before[1] > 0 and not part.locator(".part math").is_visible()


def test_text_can_be_selected_and_printed(chromium, files, tmp_path):
    page = Visit(chromium, files["formula"]).page
    text = page.evaluate("() => { getSelection().selectAllChildren(document.body); return getSelection().toString(); }")
    assert "Formula" in text and "standard error" in text
    page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000


def test_headings_are_in_order_and_regions_have_names(chromium, files):
    page = Visit(chromium, files["fit"]).page
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(own => Number(own.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1 and (np.diff(levels) <= 1).all()
    assert page.evaluate("document.documentElement.lang") == "en"
    unnamed = "[...document.querySelectorAll('button, svg, section, [role], [tabindex]')].filter(own => "
    unnamed += "!own.getAttribute('aria-label') && !own.getAttribute('aria-labelledby')).length"
    assert page.evaluate(unnamed) == 0
