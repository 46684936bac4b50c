"""The frame of pages. tests/browser has the tests of what it does in a browser."""

import re
from pathlib import Path

import pytest

from imagepipe.display.colors import COLORS
from imagepipe.display.page import LONGEST_LABEL, custom_properties, label, page_environment

TEMPLATE = """{% extends "page.html.j2" %}
{% from "page.parts.j2" import figure, table %}
{% block main %}
{{ text }}
{% call table("Every class", sortable=true, filter="Filter classes") %}
<thead><tr><th scope="col">{{ text }}</th></tr></thead><tbody><tr><td>1</td></tr></tbody>
{% endcall %}
{{ figure(none, "Curves", "a caption") }}
{% endblock %}
"""


@pytest.fixture
def page(tmp_path: Path) -> str:
    (tmp_path / "own.html.j2").write_text(TEMPLATE)
    template = page_environment(tmp_path).get_template("own.html.j2")
    return template.render(title="a <b>", text="<i>", sections=[("one", "One & two")])


def test_text_is_escaped_in_all_parts(page: str) -> None:
    assert "<title>a &lt;b&gt;</title>" in page
    assert page.count("&lt;i&gt;") == 2
    assert '<a href="#one">One &amp; two</a>' in page
    assert "<i>" not in page
    assert "<b>" not in page


def test_a_table_scrolls_in_a_region_with_a_name(page: str) -> None:
    assert 'role="region" tabindex="0" aria-label="Every class"' in page
    assert 'data-filter="Filter classes"' in page


def test_a_figure_that_is_not_there_is_named(page: str) -> None:
    assert "The figure “Curves” could not be read." in page


def test_every_color_is_there_for_light_and_for_dark() -> None:
    text = custom_properties()
    for role, (light, dark) in COLORS.items():
        assert re.findall(rf"--{role}: (#\w+);", text) == [light, dark, dark]


def test_a_long_name_is_short_in_a_table_and_whole_in_its_tooltip() -> None:
    name = "<" + "x" * 100
    shown = label(name)
    assert f'title="&lt;{"x" * 100}"' in shown
    assert len(re.sub("<[^>]*>", "", shown)) < LONGEST_LABEL + 5
    assert label("cat") == "<bdi>cat</bdi>"


def test_a_line_may_end_after_an_underscore_but_not_in_a_tooltip() -> None:
    assert label("max_lr", breaks=True) == "<bdi>max_<wbr>lr</bdi>"
    name = "a_b<" + "x" * 100
    shown = label(name, breaks=True)
    assert f'title="a_b&lt;{"x" * 100}"' in shown
    assert ">a_<wbr>b&lt;x" in shown
