"""A finished figure: one or more frames, and every format it can be written in."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from convscape.arithmetic.errors import InputError
from convscape.figures import svg
from convscape.figures.scene import Scene
from convscape.figures.theme import theme_named

DEFAULT_SECONDS = 1.0

MAX_INLINE = 64
"""Most frames that a notebook's page is given to play."""


@dataclass(frozen=True)
class Figure:
    """A picture and, where something moves, its frames.

    In a notebook it displays itself as SVG. `save` picks the format from the file's ending.

    Args:
        scene: The still picture.
        title: What it is called.
        description: What it shows, for readers that cannot see it.
        frames: Scenes of one size to play in turn; empty where nothing moves.
        theme: light, dark, or auto (in pixels and on paper: light).
        seconds: How long a frame stays.

    Raises:
        InputError: An unknown theme, or a time that is not positive.

    Example:
        >>> from convscape import Window
        >>> from convscape.figures import draw
        >>> draw(Window(3, stride=2, padding=(1, 1)), 5).svg()[:4]
        '<svg'
    """

    scene: Scene
    title: str
    description: str = ""
    frames: tuple[Scene, ...] = ()
    theme: str = "auto"
    seconds: float = DEFAULT_SECONDS

    def __post_init__(self) -> None:
        theme_named(self.theme)
        if not 0.02 <= self.seconds <= 60:
            raise InputError("a frame stays for 0.02 to 60 seconds", f"{self.seconds}", "use 1")

    def svg(self) -> str:
        """The still picture as SVG."""
        return svg.still(self.scene, self.theme, self.title, self.description)

    def playing_svg(self) -> str:
        """The animation as one SVG that plays by itself, without a script."""
        return svg.playing(self._moving(), self.seconds, self.theme, self.title, self.description)

    def png(self, scale: float = 2) -> bytes:
        """The still picture in pixels, `scale` of them for each unit."""
        from convscape.figures.raster import png

        return png(self.scene, self.theme, scale)

    def pdf(self) -> bytes:
        """The still picture as a PDF page, text as text."""
        from convscape.figures.raster import pdf

        return pdf(self.scene, self.theme)

    def gif(self, scale: float = 1) -> bytes:
        """The animation as a GIF."""
        from convscape.figures.animate import gif

        return gif(self._moving(), self.seconds, self.theme, scale)

    def mp4(self, scale: float = 2) -> bytes:
        """The animation as an MP4 film; needs ffmpeg."""
        from convscape.figures.animate import mp4

        return mp4(self._moving(), self.seconds, self.theme, scale)

    def themed(self, theme: str) -> "Figure":
        """The same figure in another theme."""
        return replace(self, theme=theme)

    def save(self, path: str | Path, *, animate: bool = False) -> Path:
        """Write the figure in the format that the ending names.

        The file is complete or not there at all: it is written beside its place and then moved.

        Args:
            path: Ending in .svg, .png, .pdf, .gif or .mp4.
            animate: Let an SVG play; .gif and .mp4 always do.

        Returns:
            The path.

        Raises:
            InputError: An unknown ending, nothing to animate, a folder that cannot be written, or
                a package or program that is missing. Nothing is overwritten then.
        """
        path = Path(path)
        write_whole(path, self.encoded(path, animate=animate))
        return path

    def encoded(self, path: str | Path, *, animate: bool = False) -> bytes:
        """What `save` would write, for a path of this ending."""
        return _maker(Path(path), animate)(self)

    def _moving(self) -> tuple[Scene, ...]:
        if not self.frames:
            raise InputError(
                "only a figure with several frames can be animated", self.title, "write a still"
            )
        return self.frames

    def _repr_svg_(self) -> str:
        """What notebooks show: the still."""
        return self.svg()

    def _repr_html_(self) -> str:
        """What notebooks show where they can: the animation, if there is one, at full size."""
        moving = 1 < len(self.frames) <= MAX_INLINE
        return f'<div style="overflow-x:auto">{self.playing_svg() if moving else self.svg()}</div>'


_STILL: Mapping[str, Callable[[Figure], bytes]] = MappingProxyType(
    {
        ".svg": lambda figure: figure.svg().encode(),
        ".png": lambda figure: figure.png(),
        ".pdf": lambda figure: figure.pdf(),
    }
)
_MOVING: Mapping[str, Callable[[Figure], bytes]] = MappingProxyType(
    {
        ".svg": lambda figure: figure.playing_svg().encode(),
        ".gif": lambda figure: figure.gif(),
        ".mp4": lambda figure: figure.mp4(),
    }
)
ENDINGS = (*_STILL, ".gif", ".mp4")
"""The endings that `save` knows."""


def check_ending(path: str | Path, *, animate: bool = False) -> None:
    """Refuse a path whose format is unknown, before anything is drawn.

    Raises:
        InputError: The ending is not one of `ENDINGS`, or cannot move although `animate` asks it.
    """
    _maker(Path(path), animate)


def _maker(path: Path, animate: bool) -> Callable[[Figure], bytes]:
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            "the output must end in a known format", repr(path.name), f"known: {', '.join(ENDINGS)}"
        )
    if animate and ending not in _MOVING:
        raise InputError(
            "an animation needs a format that can move",
            repr(path.name),
            f"known: {', '.join(_MOVING)}",
        )
    return _MOVING[ending] if animate or ending not in _STILL else _STILL[ending]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all.

    Raises:
        InputError: The folder is not there or cannot be written.
    """
    if path.is_dir():
        raise InputError("the output must be a file", f"{path} is a folder", "add a file name")
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise InputError(
            "the output must be writable",
            f"{path}: {error.strerror or error}",
            "make the folder first, or choose another place",
        ) from None
