"""HTML of elements: what is escaped, how numbers read, where columns stand."""

import math

import numpy as np
import pytest
import torch

from kansci.report.markup import Markup, element, number_text, table


def test_texts_and_attributes_are_escaped_and_markup_is_not():
    inner = element("b", "<i>")
    assert element("p", "a & b", inner, title='"<>') == '<p title="&quot;&lt;&gt;">a &amp; b<b>&lt;i&gt;</b></p>'
    assert isinstance(inner, Markup)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (-2.5e-12, "−2.5 × 10⁻¹²"),
        (np.float64(1e30), "1 × 10³⁰"),
        (torch.tensor(3), "3"),
        (10**20, "100000000000000000000"),
        (math.nan, "–"),
        (-math.inf, "−∞"),
        (np.bool_(False), "no"),
        ("a-b", "a-b"),
    ],
)
def test_numbers_read_as_on_paper(value, text):
    assert number_text(value) == text


def test_columns_with_numbers_stand_to_the_right_and_the_first_holds_headings():
    text = table([("a", 1.0, "one"), ("b", None, "<two>")], ["name", "value", "word"])
    assert text.count('scope="row"') == 2 and text.count('scope="col"') == 3
    assert text.count('class="number"') == 3
    assert "&lt;two&gt;" in text and "–" in text
