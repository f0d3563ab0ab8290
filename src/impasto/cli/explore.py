"""The commands that look into a network: textures, inversions, dreams, feature maps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from impasto.cli.console import print_table, say, show_panels, unwrapped
from impasto.cli.flags import Extras, OutputFlag, QuietFlag
from impasto.cli.outputs import check_folder, check_named
from impasto.cli.recipe_inputs import apply_recipe, find_input, read_painting_recipe
from impasto.cli.running import make_folder_of_pictures, make_picture
from impasto.lab.options import DreamOptions, FeaturesOptions, InvertOptions, TextureOptions
from impasto.work import Request

EXPLORE_PANELS = {  # the first flag of each panel of help
    "--output": "What is made",
    "--history": "What else is written",
    "--size": "The picture",
    "--class": "The picture",
    "--layer": "The picture",
    "--start-size": "What of the style counts",
    "--steps": "How it is found",
    "--device": "The network and the machine",
}
show_explore_help = show_panels(EXPLORE_PANELS)


class DreamFlags(DreamOptions):
    """A class goes by one name in the terminal, and not by Python's also."""

    label: Annotated[str | None, Parameter(name="--class")] = DreamOptions.again("label", None)


@unwrapped
def texture_command(
    style: str | None = None,
    /,
    *,
    output: OutputFlag = None,
    recipe: str | None = None,
    extras: Annotated[Extras, Parameter(name="*")] = Extras(),  # noqa: B008
    options: Annotated[TextureOptions, Parameter(name="*")] = TextureOptions(),  # noqa: B008
) -> int:
    """Make more of a texture than there is, at any size, and seamless if asked.

    Parameters
    ----------
    style
        The picture of the texture. None with --recipe PICTURE: the one that it was made from.
    output
        Where the texture goes; its name ends in .png, .jpg, .webp or .tif. STYLE-texture.png here
        if not given.
    recipe
        Options to begin with: a .toml file, or a texture that Impasto made.
    """
    options = apply_recipe(recipe, options, "texture")
    style = find_input(style, recipe, "style", "texture needs a picture of one: STYLE", extras.tell)
    output = output or Path(f"{Path(style).stem}-texture.png")
    return make_picture("texture", Request({"style": (style,)}, options), output, extras)


@unwrapped
def invert_command(
    photo: str | None = None,
    /,
    *,
    output: OutputFlag = None,
    recipe: str | None = None,
    extras: Annotated[Extras, Parameter(name="*")] = Extras(),  # noqa: B008
    options: Annotated[InvertOptions, Parameter(name="*")] = InvertOptions(),  # noqa: B008
) -> int:
    """Find a picture from nothing but a photograph's features: what a layer still knows of it.

    Parameters
    ----------
    photo
        The photograph. None with --recipe PICTURE: the one that it was made from.
    output
        Where the picture goes; PHOTO-LAYER.png here if not given. Of several layers, a folder for
        a picture of each, a sheet, and a table; the same command goes on with it after a kill.
    recipe
        Options to begin with: a .toml file, or an inversion that Impasto made.
    """
    options = apply_recipe(recipe, options, "invert")
    photo = find_input(photo, recipe, "content", "invert needs a photograph: PHOTO", extras.tell)
    if len(options.layer) > 1 or options.layer == ("all",):
        extras.refuse_for_many("one layer")
        folder = output or Path(f"{Path(photo).stem}-inverted")
        check_folder(folder, "several layers")
        request = Request({"content": (photo,)}, options, output=folder)
        return make_folder_of_pictures("invert-layers", request, quiet=extras.quiet)
    (layer,) = options.layer
    output = output or Path(f"{Path(photo).stem}-{layer}.png")
    return make_picture("invert", Request({"content": (photo,)}, options), output, extras)


@unwrapped
def dream_command(
    photo: str | None = None,
    /,
    *,
    output: OutputFlag = None,
    recipe: str | None = None,
    extras: Annotated[Extras, Parameter(name="*")] = Extras(),  # noqa: B008
    options: Annotated[DreamFlags, Parameter(name="*")] = DreamFlags(),  # noqa: B008
) -> int:
    """Make a picture that excites a class, a channel, or whatever a layer sees in a photograph.

    Parameters
    ----------
    photo
        What to start from; noise, if not given.
    output
        Where the dream goes; its name ends in .png, .jpg, .webp or .tif. dream-CLASS.png or
        PHOTO-dream-LAYER-CHANNEL.png here if not given.
    recipe
        Options to begin with: a .toml file, or a dream that Impasto made; of that, also the
        photograph.
    """
    options = apply_recipe(recipe, options, "dream")
    if photo is not None:
        check_named(photo)
    elif recipe is not None and (painted := read_painting_recipe(recipe)) and painted.inputs:
        photo = find_input(None, recipe, "content", "a dream needs its photograph", extras.tell)
    output = output or Path(f"{name_dream(photo, options)}.png")
    request = Request({"content": (photo,) if photo else ()}, options)
    return make_picture("dream", request, output, extras)


@unwrapped
def features_command(
    photo: str,
    /,
    *,
    output: OutputFlag = None,
    quiet: QuietFlag = False,
    options: Annotated[FeaturesOptions, Parameter(name="*")] = FeaturesOptions(),  # noqa: B008
) -> int:
    """Show what layers of a network give for a picture: maps, Gram matrices, numbers.

    Parameters
    ----------
    photo
        The picture.
    output
        The folder for LAYER-maps.png, LAYER-gram.png, statistics.csv, and LAYER-grid.png with
        maps.json: the maps alone, for programs; PHOTO-features if not
        given. They are written anew each time, which takes seconds.
    quiet
        Say nothing but errors.
    """
    check_named(photo)
    folder = output or Path(f"{Path(photo).stem}-features")
    check_folder(folder, "features")
    request = Request({"content": (photo,)}, options, output=folder)
    return make_folder_of_pictures("features", request, quiet=quiet, goes_on=False)


@unwrapped
def classes_command(
    words: str | None = None, /, *, backbone: str = "compact", weights: str | None = None
) -> None:
    """List the classes that dream --class knows by name.

    Parameters
    ----------
    words
        Only those whose names hold these letters; all, if not given.
    backbone
        The network: compact, vgg19 or vgg16.
    weights
        Its weight file, by name.
    """
    from impasto.networks.classifier import load_classifier

    names = load_classifier(backbone, weights=weights).names
    wanted = (words or "").lower()
    found = [(str(i), name) for i, name in enumerate(names) if wanted in name.lower()]
    if not found:
        say(f"no class with {words!r} in its name")
    else:
        print_table(found)


def name_dream(photo: str | None, options: DreamOptions) -> str:
    """Return ``dream-school-bus`` or ``cat-dream-relu4_2-17``: what it is of."""
    said = [options.label, options.layer, options.channel]
    words = ["dream", *(str(each) for each in said if each is not None)]
    name = re.sub(r"[^\w]+", "-", "-".join(words)).strip("-")
    return name if photo is None else f"{Path(photo).stem}-{name}"
