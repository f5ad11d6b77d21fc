"""The committed figures are what the code draws, and hold the guide's numbers."""

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from convscape.arithmetic import InputError
from convscape.figures import catalogue
from tests.test_figures_numbers import keyed

FOLDER = Path(__file__).parent.parent / "docs" / "figures"
MOVING = [e for e in catalogue.CATALOGUE if e.gif]

# Number of the relationship: i, k, s, p, o as the guide prints them (of a transposed convolution
# i is the input that it has, and the rest is of the convolution that it transposes).
GUIDE = {
    1: (4, 3, 1, 0, 2), 2: (5, 4, 1, 2, 6), 3: (5, 3, 1, 1, 5), 4: (5, 3, 1, 2, 7),
    5: (5, 3, 2, 0, 2), 6: (5, 3, 2, 1, 3), 8: (2, 3, 1, 0, 4), 9: (6, 4, 1, 2, 5),
    10: (5, 3, 1, 1, 5), 11: (7, 3, 1, 2, 5), 12: (2, 3, 2, 0, 5), 13: (3, 3, 2, 1, 5),
    14: (3, 3, 2, 1, 6), 15: (7, 3, 1, 0, 3),
}  # fmt: skip


def committed() -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in FOLDER.iterdir()}


def test_regenerating_gives_the_committed_svgs_and_page_byte_for_byte(tmp_path: Path) -> None:
    catalogue.write(tmp_path, ("svg",))
    page = catalogue.gallery(catalogue.CATALOGUE, ("svg", "gif")).encode()
    for path in tmp_path.glob("*.svg"):
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), f"{path.name} is out of date"
    assert page == (FOLDER / "README.md").read_bytes()


def test_the_folder_holds_the_catalogue_and_nothing_else() -> None:
    wanted = {n for e in catalogue.CATALOGUE for n, _ in catalogue.names(e, ("svg", "gif"))}
    assert set(committed()) == wanted | {"README.md"}
    assert sum(map(len, committed().values())) < 3_000_000


@pytest.mark.parametrize("entry", MOVING[:3], ids=lambda e: e.name)
def test_the_committed_gifs_show_what_is_drawn(entry: catalogue.Entry) -> None:
    """Pixel for pixel but for smoothing, which other versions of the drawing library may change."""
    old = Image.open(FOLDER / f"{entry.name}.gif")
    new = Image.open(io.BytesIO(entry.make().gif()))
    assert (old.n_frames, old.size) == (new.n_frames, new.size)  # type: ignore[attr-defined]
    for index in range(0, old.n_frames, 4):  # type: ignore[attr-defined]
        old.seek(index)
        new.seek(index)
        pairs = zip(old.convert("L").tobytes(), new.convert("L").tobytes(), strict=True)
        assert sum(abs(a - b) > 40 for a, b in pairs) < 0.01 * old.width * old.height


@pytest.mark.parametrize("number", GUIDE)
def test_each_relationship_has_the_guide_s_numbers(number: int) -> None:
    entry = next(e for e in catalogue.CATALOGUE if e.name == f"relationship-{number:02}")
    found = keyed(entry.make())
    i, k, s, p, o = GUIDE[number]
    sizes = {letter: int(found[f"size {letter} 0"]) for letter in "ikspo"}
    assert sizes == {"i": i, "k": k, "s": s, "p": p, "o": o}
    text = (FOLDER / f"{entry.name}.svg").read_text()
    assert f"Relationship {number}: " in text


def test_every_relationship_of_the_guide_has_a_figure() -> None:
    pages = "".join(data.decode() for n, data in committed().items() if n.endswith(".svg"))
    assert {int(n) for n in re.findall(r"Relationship (\d+): ", pages)} == set(range(1, 16))


def test_every_committed_svg_is_well_formed() -> None:
    for name, data in committed().items():
        if name.endswith(".svg"):
            assert ET.fromstring(data).get("viewBox"), name


def test_a_catalogue_writes_the_formats_asked_for(tmp_path: Path) -> None:
    few = catalogue.CATALOGUE[:1]
    count, size = catalogue.write(tmp_path / "a" / "b", ("pdf", "png"), few)
    names = {p.name for p in (tmp_path / "a" / "b").iterdir()}
    assert names == {"deck-convolution.pdf", "deck-convolution.png", "README.md"}
    assert count == 3
    assert size == sum(p.stat().st_size for p in (tmp_path / "a" / "b").iterdir())
    with pytest.raises(InputError, match="known: svg, gif, png, pdf"):
        catalogue.write(tmp_path / "c", ("svg", "bmp"), few)
    assert not (tmp_path / "c").exists()
