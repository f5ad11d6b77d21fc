"""Frames as an animated GIF (Pillow), or as MP4 by way of ffmpeg where it is installed."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from convscape.arithmetic.errors import InputError
from convscape.figures.raster import image
from convscape.figures.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FRAMES = 600
"""Longest animation."""


def gif(scenes: Sequence[Scene], seconds: float, theme: str = "light", scale: float = 1) -> bytes:
    """The frames as a GIF that plays for ever.

    All frames share one palette of 256 colours, taken from the first and the last frame, so that
    nothing flickers.

    Args:
        scenes: Frames of one size.
        seconds: How long a frame stays; the last one stays twice as long.
        theme: light or dark; auto is light.
        scale: Pixels for one unit of the scene.

    Raises:
        InputError: Too many frames, or a package is missing.
    """
    from PIL import Image

    frames = _images(scenes, theme, scale)
    shared = _shared_palette(frames)
    small = [frame.quantize(palette=shared, dither=Image.Dither.NONE) for frame in frames]
    stay = round(seconds * 1000)
    buffer = BytesIO()
    small[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=small[1:],
        duration=[stay] * (len(small) - 1) + [2 * stay],
        loop=0,
        optimize=False,
        disposal=1,
    )
    return buffer.getvalue()


def mp4(scenes: Sequence[Scene], seconds: float, theme: str = "light", scale: float = 2) -> bytes:
    """The frames as an H.264 film, in the pixel format that every player takes.

    Raises:
        InputError: ffmpeg is not installed, cannot write H.264, or there are too many frames.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(
            "MP4 needs ffmpeg on the PATH",
            "no ffmpeg",
            "install it (apt install ffmpeg, brew install ffmpeg), or write .gif or .svg",
        )
    frames = _images(scenes, theme, scale)
    width, height = frames[0].size
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "film.mp4"
        command = [
            program, "-loglevel", "error", "-y",
            "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
            "-r", f"{1 / seconds:g}", "-i", "-",
            # H.264 in yuv420p has even sizes only; 25 frames a second play everywhere.
            "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-r", "25",
            "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(target),
        ]  # fmt: skip
        raw = b"".join(frame.tobytes() for frame in [*frames, frames[-1]])
        done = subprocess.run(command, input=raw, capture_output=True, check=False)
        if done.returncode or not target.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise InputError(
                "ffmpeg must be able to write H.264",
                said[-1] if said else f"exit status {done.returncode}",
                "use a build with libx264, or write .gif or .svg",
            )
        return target.read_bytes()


def _images(scenes: Sequence[Scene], theme: str, scale: float) -> list["Image"]:
    if len(scenes) > MAX_FRAMES:
        raise InputError(
            f"an animation has at most {MAX_FRAMES} frames",
            f"{len(scenes)} frames",
            "draw a smaller input or fewer channels",
        )
    return [image(scene, theme, scale) for scene in scenes]


def _shared_palette(frames: Sequence["Image"]) -> "Image":
    """256 colours for all frames: of the first and the last side by side."""
    from PIL import Image

    width, height = frames[0].size
    both = Image.new("RGB", (2 * width, height))
    both.paste(frames[0], (0, 0))
    both.paste(frames[-1], (width, 0))
    return both.quantize(256, method=Image.Quantize.MAXCOVERAGE)
