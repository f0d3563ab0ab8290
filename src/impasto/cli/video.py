"""The commands of films: paint one, and paint what a camera sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from impasto.cli.console import INTERRUPTED, choose_tell, say, show_panels, unwrapped
from impasto.cli.flags import Habits, LikeFlag, OutputFlag, PlaceFlags, QuietFlag, StyleFlag
from impasto.cli.outputs import check_named, list_read, refuse_overwriting
from impasto.cli.recipe_inputs import (
    apply_recipe,
    compare_named,
    find_input,
    find_likes,
    find_recipe_pictures,
    read_painting_recipe,
)
from impasto.cli.running import Notes, drive
from impasto.errors import OptionError, plural
from impasto.operations import find_operation
from impasto.system.files import resolve_path
from impasto.video.options import AnimateOptions, LiveOptions
from impasto.work import Described, Request

show_video_help = show_panels(
    {
        "--style": "Pictures",
        "--metadata": "The rest",
        "--size": "Size and strength",
        "--model": "The styles, and what is painted with them",
        "--with": "How frames are painted, and kept steady",
        "--style-times": "What changes over the film",
        "--from": "What of the film",
        "--codec": "What is written",
        "--device": "The machine",
        "--camera-size": "The camera",
    }
)


@unwrapped
def animate_command(
    film: str | None = None,
    /,
    *,
    style: StyleFlag = None,
    style_at: list[str] | None = None,
    like: LikeFlag = None,
    lut: Path | None = None,
    output: OutputFlag = None,
    recipe: str | None = None,
    places: Annotated[PlaceFlags, Parameter(name="*")] = PlaceFlags(),  # noqa: B008
    habits: Annotated[Habits, Parameter(name="*")] = Habits(),  # noqa: B008
    options: Annotated[AnimateOptions, Parameter(name="*")] = AnimateOptions(),  # noqa: B008
) -> int:
    """Paint a film in the manner of a picture, or relight it: steady, sharp, with its sound.

    Parameters
    ----------
    film
        An .mp4, .mov, .mkv, .webm, .gif, .webp; a folder of numbered pictures; or one picture,
        with --seconds.
    style
        The picture in whose manner it is painted; repeated, several are blended. With --model, the
        name of one of its styles.
    style_at
        A style, and the second from which on it is painted after that: 0:a.jpg. Repeated, styles
        follow each other.
    like
        With --with relight, the picture whose light and colours the film takes; repeated, several
        are blended.
    lut
        With --with relight, a .cube file whose colours the film takes, in place of --like.
    output
        Where the film goes; its name ends in .mp4, .mov, .mkv, .webm, .gif or .webp, or has no
        suffix, and is a folder of pictures. FILM-STYLE.mp4 here if not given. After a kill the
        same command goes on.
    recipe
        Options to begin with: a .toml file, or a film that was painted so.
    """
    options = apply_recipe(recipe, options, "animate")
    film = find_input(film, recipe, "film", "animate needs a film", habits.tell)
    if options.with_ == "relight":
        if style or style_at:
            raise OptionError("with --with relight, give --like PICTURE, or --lut TABLE")
        inputs = find_lights(like, lut, recipe, habits)
    else:
        if like or lut:
            raise OptionError("--like and --lut go with --with relight")
        styles = list(style or [])
        if style_at:
            if styles:
                raise OptionError("--style and --style-at: give one of them")
            styles, options = read_style_times(style_at, options)
        inputs = {"style": tuple(find_film_styles(styles, recipe, options, habits))}
    named = [name for names in inputs.values() for name in names] or [options.model or ""]
    output = output or Path("-".join(Path(name).stem for name in (film, *named)) + ".mp4")
    request = Request({"film": (film,), **inputs}, options, output=output, place=places.place)
    refuse_overwriting("--output", output, map(resolve_path, list_read(request)), "name another")
    return make_film(request, output, habits)


def read_style_times(
    entries: Sequence[str], options: AnimateOptions
) -> tuple[list[str], AnimateOptions]:
    """Return the styles of ``["0:a.jpg", "5:b.jpg"]``, and the options with their times."""
    pairs = []
    for entry in entries:
        second, _, path = entry.partition(":")
        try:
            pairs.append((float(second), path))
        except ValueError:
            path = ""
        if not path:
            raise OptionError(f"--style-at {entry!r}: give SECOND:PICTURE, as in 5:b.jpg")
    times = tuple(second for second, _ in sorted(pairs, key=lambda pair: pair[0]))
    values = {name: getattr(options, name) for name in options.model_fields_set}
    options = AnimateOptions.parse(values | {"style_times": times})
    return [path for _, path in sorted(pairs, key=lambda pair: pair[0])], options


def find_film_styles(
    styles: list[str], recipe: str | None, options: AnimateOptions, habits: Habits
) -> list[str]:
    """Return the styles that are named, or those of the recipe."""
    check_named(*styles)
    painted = read_painting_recipe(recipe) if recipe is not None else None
    by_name = options.model is not None
    compare_named(() if by_name else styles, painted, "style", recipe, habits.tell)
    if not styles and painted is not None and "style" in painted.inputs:
        known = painted.inputs["style"]
        styles = list(known) if by_name else find_recipe_pictures(painted, "style", str(recipe))
    if not styles and not by_name:
        raise OptionError("animate needs a picture: --style PICTURE")
    return styles


def find_lights(
    like: list[str] | None, lut: Path | None, recipe: str | None, habits: Habits
) -> dict[str, tuple[str, ...]]:
    """Return what a film is to be like, or the table that it takes, or those of the recipe."""
    if like and lut:
        raise OptionError("--like and --lut: give one of them")
    if lut is not None:
        return {"lut": (str(lut),)}
    if likes := find_likes(like, recipe, habits.tell):
        return {"like": tuple(likes)}
    painted = read_painting_recipe(recipe) if recipe is not None else None
    if painted is not None and "lut" in painted.inputs:
        return {"lut": tuple(find_recipe_pictures(painted, "lut", str(recipe)))}
    raise OptionError("relight needs a picture to be like: --like PICTURE, or --lut TABLE")


def make_film(request: Request, output: Path, habits: Habits) -> int:
    """Paint a film, show how it goes, and say what came of it."""
    from impasto.video.animation import Animation

    work = find_operation("animate").start(request)
    assert isinstance(work, Animation)
    work.metadata = habits.metadata
    notes = Notes(habits.tell)
    notes(work.notes)
    for line in work.describe() if isinstance(work, Described) else ():
        habits.tell(line)
    finished = drive(work, quiet=habits.quiet, notes=notes)
    result = work.result()
    notes(result.notes)
    for line in result.steadiness.describe() if result.steadiness else ():
        habits.tell(line)
    if not result.frames:
        say("stopped before the first frame; nothing was written")
        return INTERRUPTED
    width, height = result.size
    what = f"{output} ({plural(result.frames, 'frame')} of {width} x {height})"
    if finished:
        done = "relit" if work.options.with_ == "relight" else "painted"
        habits.tell(f"{done} {what} in {work.seconds:.0f} s, {work.speed:.1f} frames a second")
        return 0
    say(f"stopped; what is done is in {what}; the same command goes on from there")
    return INTERRUPTED


# --- as it comes ----------------------------------------------------------------------------------


@unwrapped
def live_command(
    source: str = "0",
    /,
    *,
    style: StyleFlag = None,
    to: str = "window",
    seconds: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    quiet: QuietFlag = False,
    options: Annotated[LiveOptions, Parameter(name="*")] = LiveOptions(),  # noqa: B008
) -> int:
    """Paint what a camera sees, as it comes; what comes too fast is left out, never queued.

    Parameters
    ----------
    source
        The camera, by its number or its name; or a film, which is played in its own time.
    style
        The picture in whose manner it is painted; repeated, the key n goes on to the next. Up and
        down turn the style weight, or the strength where the styles were learnt.
    to
        Where it is shown: window; pipe, as in "--to pipe | ffplay -"; or a virtual camera,
        /dev/video2.
    seconds
        Stop after so long.
    quiet
        Say nothing but errors.
    """
    if not style:
        raise OptionError("live needs a picture: --style PICTURE")
    check_named(*style)
    from impasto.video.live import LiveShow

    show = LiveShow(source, style, options, to)
    tell = choose_tell(quiet)
    for note in show.notes:
        tell(f"note: {note}")
    try:
        shown = show.run(seconds)
    except KeyboardInterrupt:
        shown = show.summary()
    tell(shown)
    return 0
