"""What the explorer's page does: pointing, keys, steps, links, pictures, and what it refuses."""

import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from convscape.figures.explorer.page import island, single
from convscape.figures.explorer.settings import link_of
from tests.explorer_support import Tab, browser, serving

DECK = "i=5&k=3&s=1&p=0"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving() as server:
        yield server.address


@pytest.fixture(scope="module")
def shared(chrome: Any, address: str) -> Iterator[Tab]:
    made = Tab(chrome, address)
    yield made
    made.close()


@pytest.fixture
def tab(shared: Tab) -> Iterator[Tab]:
    """One tab for all tests; each loads the page anew, and each answers for what went wrong."""
    shared.page.mouse.move(1, 1)
    yield shared
    wrong, shared.wrong = shared.wrong, []
    assert wrong == []


def app(page: Any, expression: str) -> Any:
    """The value of an expression about the page's explorer, called a."""
    return page.evaluate(
        f"(() => {{ const a = document.querySelector('.cs').convscape; return {expression}; }})()"
    )


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids the driver's own way, an eval."""
    for _ in range(100):
        if app(page, condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def point(page: Any, grid: str, cell: list[int]) -> None:
    """Move the mouse to the middle of a cell [channel, row, column]."""
    key = ",".join(map(str, cell))
    place = app(
        page,
        f"""(() => {{
          a.grids.{grid}.svg.scrollIntoView({{ block: "center" }});
          const r = a.grids.{grid}.cells.get("{key}").box.getBoundingClientRect();
          return [r.x + r.width / 2, r.y + r.height / 2];
        }})()""",
    )
    page.mouse.move(*place)


def painted(page: Any, grid: str) -> dict[str, list[str]]:
    """Cells that wear something: their subscript and mark by key."""
    return dict(
        app(
            page,
            f"""Object.fromEntries([...a.grids.{grid}.painted].map(([at, wear]) =>
              [at, [wear.sub ?? "", wear.mark ?? ""]]))""",
        )
    )


def outputs(page: Any) -> Any:
    return app(page, "a.values[0]")


def sum_of(page: Any) -> str:
    return str(page.inner_text(".cs-sum"))


def heading(page: Any) -> str:
    return str(page.inner_text(".cs-name"))


# ---- the lesson ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "numbers", "name"),
    [
        (DECK, [[12, 12, 17], [10, 17, 19], [9, 6, 14]], "Relationship 1"),
        ("i=5&k=3&s=2&p=1", [[6, 17, 3], [8, 17, 13], [6, 4, 4]], "Relationship 6"),
        ("op=max&i=5&k=3&s=1", [[3, 3, 3], [3, 3, 3], [3, 2, 3]], "Relationship 7"),
    ],
)
def test_the_lessons_numbers(tab: Tab, link: str, numbers: Any, name: str) -> None:
    page = tab.open(link)
    assert outputs(page) == numbers
    assert heading(page).startswith(name)


def test_average_pooling_shows_one_decimal(tab: Tab) -> None:
    page = tab.open("op=avg&i=5&k=3&s=1")
    shown = app(page, "[...a.grids.output.cells.values()].map((c) => c.label.textContent)")
    assert shown == ["1.7", "1.7", "1.7", "1", "1.2", "1.8", "1.1", "0.8", "1.3"]


# ---- pointing -----------------------------------------------------------------------------------


def test_pointing_at_an_output_shows_its_window_and_spells_the_sum_out(tab: Tab) -> None:
    page = tab.open(DECK)
    point(page, "output", [0, 0, 2])
    touched = painted(page, "input")
    assert set(touched) == {f"0,{y},{x}" for y in range(3) for x in range(2, 5)}
    kernel = [["0", "1", "2"], ["2", "2", "0"], ["0", "1", "2"]]
    assert all(touched[f"0,{y},{x + 2}"][0] == kernel[y][x] for y in range(3) for x in range(3))
    assert sum_of(page) == (
        "y[0,2] = 2×0 + 1×1 + 0×2 + 1×2 + 3×2 + 1×0 + 2×0 + 2×1 + 3×2 = 17"
    )  # fmt: skip


def test_pointing_at_an_input_shows_every_output_it_feeds(tab: Tab) -> None:
    page = tab.open("i=5&k=3&s=2&p=1")
    point(page, "input", [0, 1, 1])
    assert set(painted(page, "output")) == {f"0,{y},{x}" for y in (0, 1) for x in (0, 1)}
    assert sum_of(page).startswith("x[1,1] = 0 feeds 4 outputs: y[0,0] ×2")
    point(page, "input", [0, -1, -1])
    assert sum_of(page) == "A padding cell feeds 1 output: y[0,0] ×0"


def test_pointing_at_a_weight_shows_every_input_it_multiplies(tab: Tab) -> None:
    page = tab.open(DECK)
    point(page, "kernel", [0, 0, 1])
    assert set(painted(page, "input")) == {f"0,{y},{x}" for y in range(3) for x in range(1, 4)}
    assert len(painted(page, "output")) == 9
    assert "multiplies 9 input cells" in sum_of(page)


def test_a_weight_keeps_its_colour_and_darkens_on_padding(tab: Tab) -> None:
    page = tab.open("i=5&k=3&s=2&p=1")
    colours = app(
        page,
        """({
          kernel: a.grids.kernel.cells.get("0,1,1").box.style.fill,
          real: a.grids.input.cells.get("0,0,0").box.style.fill,
          padding: a.grids.input.cells.get("0,-1,-1").box.style.fill,
          own: a.grids.kernel.cells.get("0,0,0").box.style.fill,
        })""",
    )
    assert colours["real"] == colours["kernel"]
    brightness = {
        name: sum(map(int, re.findall(r"\d+", colour))) for name, colour in colours.items()
    }
    assert brightness["padding"] < brightness["own"]


def test_the_running_window_stays_as_a_ghost_while_pointing(tab: Tab) -> None:
    page = tab.open(f"{DECK}&at=4")
    assert app(page, "a.grids.input.ghostBox.getAttribute('visibility')") == "hidden"
    point(page, "output", [0, 0, 0])
    ghost = app(page, "['x', 'y', 'width'].map((n) => a.grids.input.ghostBox.getAttribute(n))")
    assert ghost == ["40", "40", "120"]
    page.mouse.move(5, 5)
    assert sum_of(page).startswith("y[1,1]")


def test_cells_no_window_reads_are_hatched(tab: Tab) -> None:
    page = tab.open("i=6&k=3&s=2&p=0")
    kinds = app(page, "[...a.grids.input.cells].map(([at, c]) => [at, c.box.style.fill])")
    hatched = {at for at, fill in kinds if "url(" in fill}
    assert hatched == {f"0,{y},{x}" for y in range(6) for x in range(6) if 5 in (y, x)}


def test_transposed_both_ways_gives_the_same_numbers(tab: Tab) -> None:
    link = "op=transposed&i=3&k=3&s=2&p=1&a=1"
    page = tab.open(link)
    spread = outputs(page)
    assert app(page, "a.grids.kernel.title.textContent") == "Kernel 3×3, reversed"
    page = tab.open(f"{link}&view=scatter&at=8")
    shown = app(
        page,
        """Array.from({ length: 6 }, (_, y) => Array.from({ length: 6 }, (_, x) =>
          Number(a.grids.output.cells.get(`0,${y},${x}`).label.textContent)))""",
    )
    assert shown == spread
    point(page, "input", [0, 0, 0])
    assert "5 of 9 products are cropped away" in sum_of(page)


def test_groups_read_their_own_channels_alone(tab: Tab) -> None:
    page = tab.open("i=4&k=3&s=1&p=0&c=2&f=2&g=2&filter=1")
    assert {at.split(",")[0] for at in painted(page, "input")} == {"1"}
    point(page, "output", [0, 0, 0])
    assert {at.split(",")[0] for at in painted(page, "input")} == {"0"}


# ---- steps and keys -----------------------------------------------------------------------------


def test_stepping_both_ways_and_by_slider(tab: Tab) -> None:
    page = tab.open(DECK)
    page.click("[aria-label='Step forward']")
    assert sum_of(page).startswith("y[0,1]")
    page.click("[aria-label='Step back']")
    page.click("[aria-label='Step back']")
    assert sum_of(page).startswith("y[2,2]")
    page.click("[aria-label='First step']")
    assert sum_of(page).startswith("y[0,0]")
    assert tab.settled() == DECK
    page.click("[aria-label='Last step']")
    assert tab.settled() == f"{DECK}&at=8"


def test_playing_moves_on_and_pointing_pauses(tab: Tab) -> None:
    page = tab.open(DECK)
    app(page, "(a.transport.rate = 12)")
    page.click("[aria-label='Play']")
    until(page, "a.state.at >= 3")
    point(page, "input", [0, 2, 2])
    stands = app(page, "a.state.at")
    page.wait_for_timeout(300)
    assert app(page, "a.state.at") == stands
    page.mouse.move(5, 5)
    until(page, f"a.state.at !== {stands}")
    page.click("[aria-label='Pause']")
    assert app(page, "a.transport.playing") is None


def test_keys_move_play_step_and_edit(tab: Tab) -> None:
    page = tab.open(DECK)
    page.focus(".cs-output")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert sum_of(page).startswith("y[1,1]")
    assert page.inner_text(".cs-unseen[aria-live]").startswith("y[1,1]")
    page.keyboard.press("End")
    assert sum_of(page).startswith("y[1,2]")
    page.keyboard.press(".")
    assert app(page, "a.state.at") == 1
    page.keyboard.press(",")
    assert app(page, "a.state.at") == 0
    page.keyboard.press("Space")
    assert app(page, "a.transport.playing") is not None
    page.keyboard.press("Space")
    assert app(page, "a.transport.playing") is None
    page.focus(".cs-input")
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    page.keyboard.press("7")
    page.keyboard.press("Enter")
    assert app(page, "a.numbers.x[0][0][0]") == 7
    assert outputs(page)[0][0] == 12  # its weight is 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.type("-1.5")
    page.keyboard.press("Enter")
    assert outputs(page)[0][0] == 12 + (-1.5 - 3)
    assert "x=7,-1.5,2," in tab.settled()


def test_touch_points_at_a_cell(chrome: Any, address: str) -> None:
    tab = Tab(chrome, address, has_touch=True, viewport={"width": 390, "height": 844})
    page = tab.open(DECK)
    place = app(
        page,
        """(() => {
          a.stage.scrollIntoView();
          const r = a.grids.output.cells.get("0,1,1").box.getBoundingClientRect();
          return [r.x + r.width / 2, r.y + r.height / 2];
        })()""",
    )
    page.touchscreen.tap(*place)
    assert sum_of(page).startswith("y[1,1]")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    tab.close()


# ---- settings and links -------------------------------------------------------------------------


def test_controls_reach_valid_settings_only(tab: Tab) -> None:
    page = tab.open("i=3&k=3&s=1&p=0")
    sliders = page.locator(".cs-controls input[type=range]:visible")
    for at in range(sliders.count()):
        for end in ("min", "max"):
            sliders.nth(at).evaluate(
                f"(e) => {{ e.value = e.{end}; e.dispatchEvent(new Event('input')); }}"
            )
            assert app(page, "Math.min(...a.problem.outputs)") >= 1
            assert app(page, "a.notes") == []
            # The setting has followed to the slider's very end: no value there is refused.
            follows = "(e) => e.value === e.parentNode.querySelector('output').textContent"
            assert sliders.nth(at).evaluate(follows)
    for label in ("Transposed", "Max pooling", "Average pooling", "1-D", "Convolution", "2-D"):
        page.click(f"label:has-text('{label}')")
        assert app(page, "Math.min(...a.problem.outputs)") >= 1


def test_a_link_restores_the_setting_exactly(tab: Tab) -> None:
    for link in (
        "op=transposed&i=3x4&k=3x2&s=2x1&p=1,0x0&a=1x0&at=2&view=scatter",
        "op=avg&rank=1&i=9&k=3&s=2&p=same&ceil=1&include=1&tab=code",
        "i=4&k=3&s=1&p=half&c=2&f=4&g=2&filter=3&tab=solve&to=3",
        "i=8&k=3&s=2&p=1&a1=onnx:SAME_UPPER&a2=jax",
        "i=5&k=3&s=1&p=0&tab=stack&stack=9:3.1.1.1_2.2.1.valid",
    ):
        page = tab.open(link)
        assert app(page, "a.notes") == [], link
        written = tab.settled()
        snapshot = app(page, "[a.snapshot(), a.state]")
        page = tab.open(written)
        assert app(page, "[a.snapshot(), a.state]") == snapshot
        assert tab.settled() == written
        assert set(link.split("&")) <= {*written.split("&"), "p=1,0x0", "to=3"}


def test_python_writes_the_same_link(tab: Tab) -> None:
    for link in ("i=5&k=3&s=2&p=1", "op=transposed&i=3&k=3&s=2&p=1&a=1",
                 "op=avg&rank=1&i=9&k=3&s=2&p=same&ceil=1&include=1",
                 "i=4x6&k=3x2&s=1x2&p=1,0x1&d=1x2&c=2&f=4&g=2"):  # fmt: skip
        page = tab.open(link)
        ours = link_of(app(page, "a.settings"))
        assert set(ours.split("&")) == set(link.split("&"))


@pytest.mark.parametrize(
    ("link", "expected", "note"),
    [
        ("i=999&k=3&s=1&p=0", {"input": [32, 32]}, "not between 1 and 32: 32"),
        ("i=5&k=-2&s=1&p=0", {"kernel": [1, 1]}, "not between 1 and 16: 1"),
        ("i=abc&k=3", {"input": [5, 5]}, '"abc" is not a number: 5'),
        ("i=5&k=2.6", {"kernel": [3, 3]}, "is not whole: 3"),
        ("i=3&k=9&p=0", {"kernel": [3, 3]}, "kernel 9 does not go with the rest: 3"),
        ("i=5&k=3&s=0", {"stride": [1, 1]}, "stride 0"),
        ("i=5&k=3&p=sideways", {"padding": [[0, 0], [0, 0]]}, "not a known name"),
        ("i=5&k=3&s=1e999", {"stride": [1, 1]}, '"1e999" is not a number'),
        ("i=1x2x3&k=1", {"input": [1, 2]}, "one for each of 2 axes"),
        ("op=sum&i=5&k=3", {"operation": "conv"}, 'operation "sum" is not known'),
        ("op=transposed&i=32&k=3&s=8&p=0", {"stride": [1, 1]}, "stride 8 does not go"),
        ("i=32&k=3&c=4&f=4&g=3", {"groups": 1}, "3 groups do not divide"),
        ("i=5&k=3&colour=red", {"kernel": [3, 3]}, '"colour" is not a setting'),
        ("i=5&k=3&p=0&at=99", {"kernel": [3, 3]}, 'at "99" is not between 0 and 8: 8'),
        ("i=5&k=3&x=1,two,3", {"kernel": [3, 3]}, '"two" is not a number'),
    ],
)
def test_a_wrong_link_is_corrected_to_the_nearest_with_a_note(
    tab: Tab, link: str, expected: dict[str, Any], note: str
) -> None:
    page = tab.open(link)
    settings = app(page, "a.settings")
    assert {name: settings[name] for name in expected} == expected
    assert note in page.inner_text(".cs-note")
    page.click("[aria-label='Dismiss the note']")
    assert not page.is_visible(".cs-note")


def test_hostile_links_always_end_in_a_valid_setting(tab: Tab) -> None:
    page = tab.open(DECK)
    values = ["", "0", "-1", "1e9", "NaN", "Infinity", "99999999999999999999", "x", "1x", "same",
              "1,2,3", "%", "__proto__", "constructor", "<img src=x onerror=alert(1)>"]  # fmt: skip
    keys = [
        "op", "rank", "i", "k", "s", "d", "p", "a", "c", "f", "g", "ceil", "x", "w", "at", "filter",
        "view", "tab", "stack", "to", "a1", "a2", "__proto__", "toString",
    ]  # fmt: skip
    opened = page.evaluate(
        """async ([keys, values]) => {
          const m = await import(new URL("explorer.js", location.href));
          const a = document.querySelector(".cs").convscape;
          let n = 0;
          for (const op of ["conv", "transposed", "max", "avg"]) for (const key of keys)
            for (const value of values) {
              const { settings, rest, notes } = m.fromLink(
                `#op=${op}&i=4&${key}=${encodeURIComponent(value)}`);
              if (m.refusal(settings)) throw new Error(`${key}=${value}`);
              if (n % 5 === 0) a.open(settings, rest, notes);
              n += 1;
            }
          return n;
        }""",
        [keys, values],
    )
    assert opened == 4 * len(keys) * len(values)


def test_nothing_typed_or_linked_becomes_markup(tab: Tab) -> None:
    attack = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
    quoted = "%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'pwned'%22%3E"
    keys = ("op", "i", "k", "p", "x", "w", "at", "view", "tab", "stack", "to", "a1", "a2", "zz")
    page = tab.open("&".join(f"{key}={quoted}" for key in keys) + f"&{quoted}=1")
    assert "<img" in page.inner_text(".cs-note")
    page.click("summary:has-text('Edit the numbers')")
    page.fill("textarea >> nth=0", attack)
    page.locator("textarea").nth(0).blur()
    page.dblclick(".cs-kernel svg", position={"x": 20, "y": 20})
    page.fill(".cs-edit", attack)
    page.keyboard.press("Enter")
    assert "is not a number" in page.inner_text(".cs-note")
    for name in ("Stack", "Which settings", "Code", "Link and export", "Frameworks"):
        page.click(f"[role=tab]:has-text('{name}')")
    assert page.locator(".cs img, .cs script").count() == 0
    assert page.title() == "Convolution explorer"


def test_editing_numbers_as_text_and_by_buttons(tab: Tab) -> None:
    page = tab.open(DECK)
    page.click("summary:has-text('Edit the numbers')")
    page.fill("textarea >> nth=1", "1 1 1\n1 1 1\n1 1 1")
    page.locator("textarea").nth(1).blur()
    assert outputs(page)[0][0] == 3 + 3 + 2 + 0 + 0 + 1 + 3 + 1 + 2
    page.click("button:has-text('All ones')")
    assert outputs(page) == [[9] * 3] * 3
    page.click('button:has-text("The lesson\'s numbers")')
    assert outputs(page) == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]
    assert tab.settled() == DECK


# ---- panels -------------------------------------------------------------------------------------


def test_frameworks_side_by_side_mark_the_cells_that_differ(tab: Tab) -> None:
    page = tab.open("i=8&k=3&s=2&p=1")
    assert "16 output cells of 16 differ" in page.inner_text(".cs-tabpanel:visible .cs-verdict")
    assert page.locator(".cs-other").count() == 32
    page = tab.open("i=7&k=3&s=2&p=1")
    assert "every cell reads the same" in page.inner_text(".cs-tabpanel:visible .cs-verdict")
    assert page.locator(".cs-other").count() == 0
    page = tab.open("op=avg&i=5&k=3&s=1&p=same&a1=keras:same&a2=jax:SAME")
    marked = page.inner_text(".cs-tabpanel:visible .cs-verdict")
    assert "16 output cells of 25 differ" in marked  # the divisor, at the border
    page = tab.open("op=max&i=6&k=2&s=3&p=0&a1=onnx:SAME_UPPER&a2=torch")
    assert "ONNX Runtime" in page.inner_text(".cs-side >> nth=0")


def test_the_stack_shows_all_that_a_cell_reads(tab: Tab) -> None:
    page = tab.open("i=5&k=3&s=1&p=0&tab=stack&stack=9:3.1.1.same_2.2.1.valid_3.1.1.same")
    page.focus(".cs-tabpanel:visible [role=application]")
    page.keyboard.press("Home")
    assert "Cell 0 of layer 3 reads 5 input cells, from 0 to 4" in page.inner_text(
        ".cs-tabpanel:visible"
    )
    page.keyboard.press("ArrowDown")
    assert "Cell 0 of layer 2 reads 3 input cells, from 0 to 2" in page.inner_text(
        ".cs-tabpanel:visible"
    )
    page.select_option("[aria-label='Layer 1, kernel']", "11")
    page.select_option("[aria-label='Layer 1, padding']", "valid")
    assert "does not fit" in page.inner_text(".cs-tabpanel:visible")


def test_which_settings_give_this_output_and_choosing_one(tab: Tab) -> None:
    page = tab.open(f"{DECK}&tab=solve&to=2")
    page.click(".cs-solutions button:has-text('k=3 s=2 p=0')")
    assert app(page, "[a.settings.stride, a.problem.outputs]") == [[2, 2], [2, 2]]
    buttons = page.locator(".cs-solutions button")
    for at in range(min(8, buttons.count())):
        buttons.nth(at).click()
        assert app(page, "a.problem.outputs") == [2, 2]


def test_code_of_every_framework_is_shown(tab: Tab) -> None:
    page = tab.open("i=8&k=3&s=2&p=same&tab=code")
    written = {
        "Keras": 'padding="same"', "PyTorch": "nn.Conv2d(1, 1, (3, 3)", "ONNX": "pads=[0, 0, 1, 1]",
        "JAX": "lax.conv_general_dilated",
    }  # fmt: skip
    for name, line in written.items():
        page.click(f".cs-tabpanel:visible button:has-text('{name}')")
        assert line in page.inner_text(".cs-tabpanel:visible pre")


# ---- pictures -----------------------------------------------------------------------------------


def saved(page: Any, kind: str, folder: Path) -> bytes:
    page.click("[role=tab]:has-text('Link and export')")
    with page.expect_download() as waiting:
        page.click(f"[data-save={kind}]")
    path = folder / str(waiting.value.suggested_filename)
    waiting.value.save_as(path)
    assert path.suffix == f".{kind}"
    return Path(path).read_bytes()


def test_the_svg_says_what_the_page_shows(tab: Tab, tmp_path: Path) -> None:
    page = tab.open("i=5&k=3&s=2&p=1&at=1")
    root = ElementTree.fromstring(saved(page, "svg", tmp_path))
    texts = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Input 5×5, padding 1", "Kernel 3×3", "Output 3×3", "17", "13"} <= set(texts)
    assert "y[0,1] = 0×0 + 0×1 + 0×2 + 3×2 + 2×2 + 1×0 + 0×0 + 1×1 + 3×2 = 17" in texts
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) >= 49 + 9 + 9
    assert not re.search(r"(href|url\()[^#]*http", ElementTree.tostring(root, "unicode"))


def frames(picture: Any) -> int:
    return int(picture.n_frames)


@pytest.mark.parametrize(
    "link", [DECK, "op=transposed&i=3&k=3&s=2&p=1&view=scatter", "op=max&rank=1&i=6&k=2&s=2"]
)
def test_the_gif_decodes_and_every_frame_is_another(tab: Tab, tmp_path: Path, link: str) -> None:
    page = tab.open(link)
    steps = app(page, "Number(a.transport.position.input.max) + 1")
    with Image.open(BytesIO(saved(page, "gif", tmp_path))) as picture:
        assert (picture.format, frames(picture)) == ("GIF", steps)
        seen = []
        for at in range(steps):
            picture.seek(at)
            seen.append(picture.convert("RGB").tobytes())
            assert picture.info["duration"] >= 80
    assert len(set(seen)) == steps
    # The last frame, put together from all changes, is the picture drawn at once.
    drawn = page.evaluate(
        """() => {
          const a = document.querySelector(".cs").convscape;
          a.transport.goto(Infinity);
          return a.view().colours.bg;
        }"""
    )
    background = tuple(int(drawn[i : i + 2], 16) for i in (1, 3, 5))
    assert tuple(seen[-1][:3]) == background


def test_the_gifs_pixels_survive_the_encoder(tab: Tab) -> None:
    page = tab.open(DECK)
    bytes_ = page.evaluate(
        """async () => {
          const m = await import(new URL("explorer.js", location.href));
          const frame = (at) => {
            const data = new Uint8ClampedArray(90 * 70 * 4);
            for (let i = 0; i < 90 * 70; i += 1) {
              const v = (i * 31 + at * (i % 13)) % 256;
              data.set([v & 0xf8, (v * 3) & 0xe0, (i % 3) * 64, 255], i * 4);
            }
            return { width: 90, height: 70, data };
          };
          return [...m.gif(frame, [50, 50, 50])];
        }"""
    )
    with Image.open(BytesIO(bytes(bytes_))) as picture:
        assert frames(picture) == 3
        for at in range(3):
            picture.seek(at)
            got = picture.convert("RGB").tobytes()
            wanted = bytearray()
            for i in range(90 * 70):
                v = (i * 31 + at * (i % 13)) % 256
                wanted += bytes((v & 0xF8, (v * 3) & 0xE0, (i % 3) * 64))
            far = max(abs(a - b) for a, b in zip(got, wanted, strict=True))
            assert far <= 40  # 768 colours in 256
            near = sum(a == b for a, b in zip(got, wanted, strict=True))
            assert near > 0.3 * len(wanted)


def test_a_gif_with_too_many_steps_is_refused_with_the_limit(tab: Tab) -> None:
    page = tab.open("i=20&k=1&s=1&p=0&tab=export")
    page.click("[data-save=gif]")
    assert "up to 256 steps; got 400" in page.inner_text(".cs-tabpanel:visible")


# ---- the whole page -----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violations(chrome: Any, address: str, scheme: str) -> None:
    package = pytest.importorskip(
        "axe_playwright_python", reason="axe-playwright-python (axe-core itself) is not installed"
    )
    axe = Path(package.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
    tab = Tab(chrome, address, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    for link in (f"{DECK}&tab=dialects", "op=transposed&i=3&k=3&s=2&p=1&tab=stack",
                 "i=8&k=3&s=2&p=1&c=2&f=2&tab=solve", "op=avg&i=abc&k=2&tab=code",
                 "i=8&k=3&s=2&p=1", f"{DECK}&tab=export"):  # fmt: skip
        page = tab.open(link)
        page.evaluate("for (const e of document.querySelectorAll('details')) e.open = true")
        page.evaluate(axe)
        found = page.evaluate("async () => (await axe.run(document)).violations")
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == [], link
    tab.close()


def test_the_theme_button_overrules_the_system(tab: Tab) -> None:
    page = tab.open(DECK)
    ground = "getComputedStyle(document.querySelector('.cs')).backgroundColor"
    light = page.evaluate(ground)
    page.click(".cs-theme")
    page.click(".cs-theme")
    assert page.inner_text(".cs-theme") == "Theme: dark"
    assert page.evaluate(ground) != light


def test_the_exported_file_works_alone_from_a_folder(chrome: Any, tmp_path: Path) -> None:
    network = {"model": "</script><img src=x>", "layers": [], "findings": [],
               "totals": {"layers": 0, "params": 0, "macs": 0}}  # fmt: skip
    path = tmp_path / "page.html"
    path.write_text(single(network, "op=max&i=4&k=2&s=2"), encoding="utf-8")
    assert path.stat().st_size < 200_000
    tab = Tab(chrome, path.as_uri())
    page = tab.open()
    assert outputs(page) == [[3, 3], [3, 2]]
    assert "</script><img src=x>" in page.inner_text(".cs-tabpanel:visible")
    assert page.locator(".cs img").count() == 0
    page = tab.open("i=5&k=3&s=2&p=1")
    assert outputs(page)[0] == [6, 17, 3]
    tab.close()


def test_an_island_cannot_end_its_element() -> None:
    hostile = {"model": "</script><script>alert(1)</script><!--"}
    written = island(hostile)
    body = re.sub(r"^<script[^>]*>|</script>\n$", "", written)
    assert "<" not in body
    assert json.loads(body) == hostile
