"""The page: its sections, that it is whole, and that nothing in it comes from elsewhere."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import sympy
import torch

import kansci as ks
from kansci.errors import ConfigError
from kansci.report.markup import VOID
from kansci.solvers.solution import Estimate, History, Solution
from kansci.symbolic.snap import Snap, Snapping
from kansci.symbolic.suggest import Suggestion

EVIL = '<script>alert("1")</script>&\'"'


SECTIONS = ["Formula", "Result", "Constants", "Analysis", "Network", "History", "Figures", "Settings"]


class Reader(HTMLParser):
    """Checks that elements close in order; collects names, headings and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.tags, self.links, self.texts = [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.tags.append((tag, known))
        self.ids += [known["id"]] if "id" in known else []
        self.links += [known[name] for name in ("src", "href", "xlink:href") if name in known]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def inside(self, tag) -> list[str]:
        return [text for own, text in self.texts if own == tag]


def solution(model=None) -> Solution:
    loss = 10.0 ** -np.arange(30.0)
    history = History(np.arange(1, 31), np.zeros(30, dtype=int), 0.1 * np.arange(30), loss, {"data": loss}, loss)
    found = {"omega": Estimate(3.14159265, 0.000123), "k": Estimate(2.0, float("inf"))}
    return Solution(ks.MultKAN([2, 2, 1]) if model is None else model, history, "converged", found, 1e-9, 1e-29)


def write(folder, **parts) -> str:
    return ks.report.write_report(folder / "report.html", **parts).read_text(encoding="utf-8")


def read(folder, **parts) -> Reader:
    return Reader(write(folder, **parts))


def draw():
    ax = plt.subplots()[1]
    ax.plot([0, 1], [0, 1], marker="o")
    return ax


def everything() -> dict:
    return {
        "title": EVIL,
        "summary": EVIL,
        "solution": solution(),
        "formula": [EVIL, "exp(sin(pi*x) + y^2)"],
        "names": ["x", "y"],
        "output_names": [EVIL],
        "metrics": {EVIL: 1.0, "converged": True, "order": None},
        "table": [("metric", "ours", EVIL), (EVIL, 1e-9, EVIL)],
        "constants": {EVIL: Estimate(1.0, 0.1)},
        "analysis": [EVIL, {"a": EVIL}, [EVIL]],
        "figures": {EVIL: draw},
        "settings": {EVIL: EVIL, "box": (1, 2)},
        "versions": {EVIL: EVIL},
    }


def test_whatever_is_given_is_text_and_elements_close(tmp_path):
    page = read(tmp_path, **everything())
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert EVIL in page.inside("h1") and EVIL in page.inside("title") and EVIL in page.inside("figcaption")
    assert page.inside("h2") == SECTIONS


def test_ids_are_unique_and_links_stay_inside(tmp_path):
    page = read(tmp_path, **everything())
    assert len(set(page.ids)) == len(page.ids)
    assert page.links and all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert {known["aria-labelledby"] for _, known in page.tags if "aria-labelledby" in known} <= set(page.ids)


def test_the_page_allows_its_own_script_and_nothing_else(tmp_path):
    text = write(tmp_path)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{hashed}&#x27;" in text and "default-src &#x27;none&#x27;" in text


def test_sections_without_content_are_left_out(tmp_path):
    assert read(tmp_path).inside("h2") == []
    assert read(tmp_path, metrics={"error": 0.1}).inside("h2") == ["Result"]


def test_pictures_have_names_for_those_who_cannot_see_them(tmp_path):
    page = read(tmp_path, solution=solution(), figures={"a line": draw})
    pictures = [known for tag, known in page.tags if tag == "svg"]
    assert [own["aria-label"] for own in pictures] == ["The network", "The loss", "a line"]
    assert all(own["role"] == "img" for own in pictures)
    assert page.inside("figcaption") == ["The network", "The loss", "a line"]


def test_given_pictures_take_the_place_of_drawn_ones(tmp_path):
    page = read(tmp_path, solution=solution(), figures={"network": draw, "history": draw})
    assert page.inside("h2") == ["Result", "Constants", "Network", "History"]
    assert [tag for tag, _ in page.tags].count("svg") == 2


def test_networks_of_symbolic_edges_bring_their_formulas_and_constants(tmp_path):
    model = ks.kanpile("2*sin(3*q) + 1", ["q"])
    q = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    data = (q, model(q).detach() + 1e-3 * torch.cos(50 * q))
    text = write(tmp_path, model=model, data=data, names=["q"], output_names=["a"])
    page = Reader(text)
    assert page.inside("h2") == ["Formula", "Constants", "Network"]
    assert "a = 2*sin(3*q) + 1" in text
    assert any("sin" in own for own in page.inside("th"))


@pytest.mark.parametrize("network", [ks.LAN([2, 3, 1]), ks.MLP([2, 3, 1]), ks.MultKAN([2, [1, 1], 2])], ids=repr)
def test_any_network_is_drawn(tmp_path, network):
    assert read(tmp_path, model=network).inside("figcaption") == ["The network"]


def test_several_networks_have_a_picture_each(tmp_path):
    page = read(tmp_path, model={"u": ks.MultKAN([1, 1]), "v": ks.MLP([1, 2, 1])})
    assert page.inside("figcaption") == ["The network u", "The network v"]


def test_constants_are_rounded_to_their_errors_and_undetermined_ones_set_apart(tmp_path):
    page = read(tmp_path, solution=solution())
    assert {"3.14159", "0.00012"} <= set(page.inside("td"))
    assert "not determined by the data: 1" in page.inside("summary")


@pytest.mark.parametrize("formula", ["x/y", sympy.Symbol("x") + 1, ["x", "x**2"], "a\nb + 1", "no formula ("])
def test_formulas_are_texts_or_expressions_one_or_several(tmp_path, formula):
    page = read(tmp_path, formula=formula)
    expected = 2 if isinstance(formula, list) or "\n" in str(formula) else 0 if "(" in str(formula) else 1
    assert [tag for tag, _ in page.tags].count("math") == expected


def test_metrics_that_the_table_has_are_not_repeated(tmp_path):
    rows = [("metric", "ours", "theirs"), ("error", 1e-9, 1e-3)]
    page = read(tmp_path, metrics={"error": 1e-9, "steps": 7}, table=rows)
    assert page.inside("dt") == ["steps"] and page.inside("dd") == ["7"]


def test_long_formulas_are_given_in_parts_and_written_out(tmp_path):
    x, y = sympy.symbols("x y")
    long = sum(sympy.sin(k * x + k) for k in range(1, 5)) * sympy.exp(sum(sympy.cos(k * y + k) for k in range(1, 5)))
    page = read(tmp_path, formula=long)
    assert "written out" in page.inside("summary") and "with" in page.inside("p")


def test_figures_are_closed_only_where_the_page_made_them(tmp_path):
    mine = draw()
    write(tmp_path, solution=solution(), figures={"mine": mine, "other": draw, "figure": mine.figure})
    assert [plt.figure(number) for number in plt.get_fignums()] == [mine.figure]


def test_scores_and_fronts_are_drawn(tmp_path):
    class Scores:
        inputs = torch.tensor([[0.5, 1.0]])

    class AttributionLike:
        per_output = Scores()
        front = ((1, 0.5), (2, 0.1))

    page = read(tmp_path, analysis=[AttributionLike()])
    assert page.inside("h3") == ["Attribution like"]
    assert page.inside("figcaption") == ["How much each input matters", "Error against complexity"]


def test_suggestions_and_snaps_are_tables(tmp_path):
    found = Suggestion("sin", (2.0, 0.1, 1.0, 0.0), 1e-3, 2, -8.0)
    snapping = Snapping(ks.MultKAN([1, 1]), (Snap(ks.Edge(0, 0, 0), "sin", (), 1e-6, 1e-12),))
    page = read(tmp_path, analysis=[[found, found], snapping])
    assert page.inside("h3") == ["Suggestions", "Snapping"]
    assert {"0.001", "−8"} <= set(page.inside("td")) and {"sin", "1 × 10⁻⁶", "1 × 10⁻¹²"} <= set(page.inside("td"))


@pytest.mark.parametrize("parts", [{"figures": {"a": 3}}, {"model": 3}, {"model": ks.MultKAN([2, 1]), "names": ["x"]}])
def test_what_cannot_be_shown_is_refused_and_leaves_no_file(tmp_path, parts):
    with pytest.raises(ConfigError, match="expected"):
        write(tmp_path, **parts)
    assert not list(tmp_path.iterdir())


def test_same_figures_give_the_same_text(tmp_path):
    first, second = (re.sub(r"<time.*?</time>", "", write(tmp_path, figures={"a": draw})) for _ in range(2))
    assert first == second


def test_histories_are_listed_at_equal_distances(tmp_path):
    page = read(tmp_path, solution=solution())
    cells = page.inside("th")
    assert {"1", "30", "stage", "loss", "data"} <= set(cells)
    assert 10 <= sum(own.isdigit() for own in cells) <= 14


def test_models_are_left_as_they_were(tmp_path):
    model = ks.MultKAN([2, 2, 1]).train()
    before = {name: own.clone() for name, own in model.state_dict().items()}
    write(tmp_path, model=model)
    assert model.training and all(torch.equal(before[name], own) for name, own in model.state_dict().items())
