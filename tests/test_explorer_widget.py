"""The explorer in a notebook: what it tells Python, what it takes, what it refuses."""

import doctest
import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from convscape.arithmetic import InputError
from convscape.arithmetic.dialects import Layer
from convscape.figures.explorer.bundle import module
from convscape.figures.explorer.settings import layer_of, link_of, settings_of
from tests.explorer_support import Tab, browser, serving

FAKE_MODEL = """
window.model = {
  state: { settings: SETTINGS, numbers: {}, hover: null },
  listeners: {}, saved: [],
  get(name) { return structuredClone(this.state[name]); },
  set(name, value) { this.state[name] = value; },
  save_changes() { this.saved.push(structuredClone(this.state)); },
  on(name, f) { this.listeners[name] = f; },
  off(name, f) { if (this.listeners[name] === f) delete this.listeners[name]; },
};
"""


def settings(spatial: tuple[int, ...], *arguments: Any, **named: Any) -> dict[str, Any]:
    op = named.pop("operation", "conv")
    layer = Layer.of("convscape", op, *arguments, rank=len(spatial), **named)
    return settings_of(layer, spatial)


@pytest.fixture(scope="module")
def notebook() -> Iterator[Any]:
    """A page that is not the explorer's, with the module rendered into an element of it."""
    with browser() as started, serving() as server:
        tab = Tab(started, server.address)
        page = tab.open()
        page.evaluate("document.querySelector('.cs').convscape.destroy()")
        given = json.dumps(settings((5, 5), 3, 2, 1))
        page.evaluate(FAKE_MODEL.replace("SETTINGS", given))
        page.evaluate(
            """async () => {
              const { default: widget } = await import(new URL("explorer.js", location.href));
              const el = document.createElement("div");
              el.id = "cell";
              document.body.replaceChildren(el);
              window.before = location.hash;
              window.end = await widget.render({ model, el });
            }"""
        )
        yield page
        tab.close()


def test_the_page_tells_python_its_settings_and_numbers(notebook: Any) -> None:
    last = notebook.evaluate("model.saved.at(-1)")
    assert last["numbers"]["output"] == [[[6, 17, 3], [8, 17, 13], [6, 4, 4]]]
    assert last["numbers"]["kernel"] == [[[[0, 1, 2], [2, 2, 0], [0, 1, 2]]]]
    notebook.locator("#cell input[type=range]").nth(4).evaluate(
        "(e) => { e.value = 1; e.dispatchEvent(new Event('input')); }"
    )
    changed = notebook.evaluate("model.saved.at(-1).settings")
    assert changed["stride"] == [1, 1]
    assert layer_of(changed).outputs(changed["input"]) == (5, 5)


def test_python_sets_the_page_and_is_told_what_it_made_of_it(notebook: Any) -> None:
    asked = settings((4,), 3, 2, 1, operation="transposed", output_padding=1)
    notebook.evaluate(
        "(s) => { model.set('settings', s); model.listeners['change:settings'](); }", asked
    )
    last = notebook.evaluate("model.saved.at(-1)")
    assert last["settings"] == asked
    assert len(last["numbers"]["output"][0][0]) == 8
    assert "Relationship 14" in notebook.inner_text("#cell .cs-name")


def test_pointing_is_told_and_ends(notebook: Any) -> None:
    notebook.focus("#cell .cs-input")
    told = notebook.evaluate("model.saved.at(-1).hover")
    assert told["part"] == "input"
    notebook.keyboard.press("End")
    assert notebook.evaluate("model.saved.at(-1).hover.text").startswith("A padding cell")
    notebook.keyboard.press("ArrowLeft")
    notebook.keyboard.press("ArrowLeft")
    assert notebook.evaluate("model.saved.at(-1).hover.cell") == [3]
    notebook.evaluate("document.activeElement.blur()")
    assert notebook.evaluate("model.saved.at(-1).hover") is None


def test_a_notebook_keeps_its_address_and_a_removed_cell_leaves_nothing(notebook: Any) -> None:
    notebook.wait_for_timeout(300)
    assert notebook.evaluate("location.hash === before")
    notebook.evaluate("end()")
    assert notebook.evaluate("document.querySelector('#cell').textContent") == ""
    assert notebook.evaluate("Object.keys(model.listeners)") == []


def test_settings_and_layers_are_inverse() -> None:
    for given in (
        settings((5, 5), 3, 2, 1),
        settings((9,), 3, 1, "causal", 2),
        settings((4, 6), (3, 2), (1, 2), ((1, 0), (0, 1)), in_channels=2, out_channels=4, groups=2),
        settings((7, 7), 3, None, 1, operation="avg_pool", count_include_pad=True, ceil_mode=True),
        settings((3, 3), 3, 2, 1, operation="transposed", output_padding=1),
    ):
        assert settings_of(layer_of(given), given["input"]) == given
        assert link_of(given)


@pytest.mark.parametrize(
    ("spatial", "arguments", "limit"),
    [
        ((33, 33), (3,), "input is drawn up to 32"),
        ((20, 20), (17,), "kernel is drawn up to 16"),
        ((5, 5, 5), (3,), "one axis or two"),
        ((2, 2), (3,), "the window must fit"),
        ((5, 5), (3, 0), "stride must be at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_limit(
    spatial: tuple[int, ...], arguments: tuple[int, ...], limit: str
) -> None:
    with pytest.raises(InputError, match=limit):
        settings(spatial, *arguments)


def test_the_module_is_small_and_put_together_of_all_its_parts() -> None:
    text = module()
    assert len(text.encode()) < 180_000
    for name in ("makeWindow", "translate", "solve", "gif", "Explorer", "render", "refusal"):
        assert f"  {name}," in text
    assert "innerHTML" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_widgets_traits_are_read_back_and_checked() -> None:
    pytest.importorskip("anywidget", reason="the notebook extra is not installed")
    from convscape.figures.explorer.widget import Explorer

    widget = Explorer(5, 3, stride=2, padding=1)
    assert widget.layer.outputs((5, 5)) == (3, 3)
    assert widget.get_state()["settings"]["padding"] == [[1, 1], [1, 1]]
    # As the page does it: a message with new state.
    told = {**widget.settings, "stride": [1, 1]}
    hover = {"part": "input", "channel": 0, "cell": [0, 0], "text": ""}
    widget.set_state({"settings": told, "numbers": {"output": [[[1]]]}, "hover": hover})
    assert widget.layer.stride == (1, 1)
    assert widget.numbers["output"] == [[[1]]]
    assert widget.hover == hover
    with pytest.raises(InputError, match="all their names"):
        widget.settings = {"kernel": [3, 3]}
    with pytest.raises(InputError, match="must fit"):
        widget.settings = {**widget.settings, "kernel": [9, 9]}
    assert widget.layer.stride == (1, 1)
    assert widget._esm == module()


@pytest.mark.parametrize("name", ["bundle", "page", "network", "settings", "widget"])
def test_examples_in_docstrings_hold(name: str) -> None:
    if name == "widget":
        pytest.importorskip("anywidget", reason="the notebook extra is not installed")
    found = doctest.testmod(importlib.import_module(f"convscape.figures.explorer.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
