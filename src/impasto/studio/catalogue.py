"""What can be asked for: operations with their options, recipes, styles and photographs."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from impasto.errors import MissingJobError
from impasto.images.inspection import read_learnt_styles
from impasto.instant.options import MODELS
from impasto.jobs.file_store import FileStore
from impasto.operations import DEFAULT_OPERATION, OPERATIONS, Operation
from impasto.options import File, Options
from impasto.recipes import list_recipes
from impasto.studio.file_answers import answer_file
from impasto.studio.messages import (
    InputDeclaration,
    Name,
    OperationInfo,
    OperationList,
    OperationSchema,
    PhotographInfo,
    PhotographList,
    RecipeInfo,
    RecipeList,
    SampleSource,
    StyleInfo,
    StyleList,
    WordSource,
)
from impasto.studio.services import Services
from impasto.studio.session import ERRORS, FILE_ANSWER, Here
from impasto.studio.sources import hash_samples, is_several, list_samples, read_bundled
from impasto.studio.uploads import answer_thumbnail
from impasto.studio.views import API

catalogue_routes = APIRouter(tags=["catalogue"])
_ENTRY = Annotated[Name, InPath()]


# --- operations ---------------------------------------------------------------------------------


@catalogue_routes.get("/operations")
def list_operations() -> OperationList:
    """List what can be done."""
    return OperationList(operations=[_describe(name) for name in OPERATIONS])


@catalogue_routes.get("/operations/{name}", responses=ERRORS(404, 422))
def get_operation(name: _ENTRY) -> OperationSchema:
    """Tell of an operation, with the JSON schema of its options."""
    if name not in OPERATIONS:
        raise MissingJobError(f"unknown operation {name!r}")
    facts = _describe(name).model_dump()
    return OperationSchema(**facts, options=make_schema(OPERATIONS[name].options))


def _describe(name: str) -> OperationInfo:
    operation: Operation = OPERATIONS[name]
    return OperationInfo(
        name=name,
        about=_first_line(operation.options),
        inputs=[InputDeclaration(**vars(each)) for each in operation.inputs],
        output=operation.output,
        done=operation.done,
    )


def _first_line(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]


@cache
def make_schema(kind: type[Options]) -> dict[str, Any]:
    """Return options as a JSON schema, with what a form needs beside it.

    ``x-group`` says what an option belongs to, and ``x-file`` marks one that takes a file as a
    source: its kind, whether several, and which words stand for none.
    """
    schema = kind.model_json_schema(by_alias=True)
    marks = kind.file_marks()
    for name, field in kind.model_fields.items():
        shown = schema["properties"][field.alias or name]
        shown["x-group"] = _first_line(_find_home(kind, name))
        if name in marks:
            shown |= _describe_file(marks[name], several=is_several(kind, name))
    return schema


def _find_home(kind: type[Options], name: str) -> type:
    """Return the class that declares a field first: the subject that it belongs to."""
    bases = [each for each in kind.__mro__ if name in getattr(each, "model_fields", {})]
    return bases[-1]


def _describe_file(mark: File, *, several: bool) -> dict[str, Any]:
    return {"x-file": {"kind": mark.kind, "names": list(mark.names), "several": several}}


# --- recipes ------------------------------------------------------------------------------------


@cache
def _read_recipes() -> dict[str, RecipeInfo]:
    return {
        name: RecipeInfo(
            name=name, about=about, operation=DEFAULT_OPERATION, options=read_bundled(name)
        )
        for name, about in list_recipes().items()
    }


@catalogue_routes.get("/recipes")
def list_all_recipes() -> RecipeList:
    """List the recipes that come with Impasto; an upload's own is at its address."""
    return RecipeList(recipes=list(_read_recipes().values()))


@catalogue_routes.get("/recipes/{name}", responses=ERRORS(404, 422))
def get_recipe(name: _ENTRY) -> RecipeInfo:
    """Tell what a recipe sets."""
    if name not in _read_recipes():
        raise MissingJobError(f"unknown recipe {name!r}")
    return _read_recipes()[name]


# --- pictures to begin with ---------------------------------------------------------------------


@catalogue_routes.get("/styles")
def list_styles_to_choose() -> StyleList:
    """List styles to begin with: sample pictures, and what the network of painters has learnt."""
    from impasto.samples.style_pictures import STYLE_PICTURES

    pictures = [
        StyleInfo(
            name=name,
            about=about,
            source=SampleSource(sample=name),
            sha256=hash_samples()[name],
            model=None,
            content=f"{API}/samples/{name}/content",
            thumbnail=f"{API}/samples/{name}/thumbnail",
        )
        for name, about in STYLE_PICTURES.items()
    ]
    return StyleList(styles=[*pictures, *_list_learnt()])


@cache
def _list_learnt() -> tuple[StyleInfo, ...]:
    """Return the styles of the networks that travel with the package, by name."""
    folder = Path(str(resources.files("impasto"))) / "data"
    files = {name: folder / f"{name}.safetensors" for name in MODELS}
    return tuple(
        StyleInfo(
            name=name,
            about="",
            source=WordSource(name=name),
            sha256=None,
            model=model,
            content=None,
            thumbnail=None,
        )
        for model, path in files.items()
        for name in (read_learnt_styles(path) if path.is_file() else ())
    )


@catalogue_routes.get("/photographs")
def list_photographs_to_choose() -> PhotographList:
    """List free photographs to begin with."""
    from impasto.samples.photographs import PHOTOGRAPHS

    known = list_samples()
    return PhotographList(
        photographs=[
            PhotographInfo(
                name=name,
                credit=each.credit,
                licence=each.licence,
                source=SampleSource(sample=name),
                sha256=hash_samples()[name],
                content=f"{API}/samples/{name}/content",
                thumbnail=f"{API}/samples/{name}/thumbnail",
            )
            for name, each in PHOTOGRAPHS.items()
            if name in known
        ]
    )


@catalogue_routes.get("/samples/{name}/content", responses=FILE_ANSWER | ERRORS(404, 422))
def get_sample(request: Request, name: _ENTRY) -> Response:
    """Send a sample picture."""
    path = list_samples().get(name)
    if path is None:
        raise MissingJobError(f"unknown sample {name!r}")
    return answer_file(request, path, path.name, f"sample-{name}-{path.stat().st_size}")


@catalogue_routes.get("/samples/{name}/thumbnail", responses=FILE_ANSWER | ERRORS(404, 422, 507))
def get_sample_thumbnail(request: Request, here: Here, name: _ENTRY) -> Response:
    """Send a sample picture's small version, a WebP."""
    return answer_thumbnail(request, here, _keep_sample(here, name))


def _keep_sample(here: Services, name: str) -> str:
    path = list_samples().get(name)
    if path is None:
        raise MissingJobError(f"unknown sample {name!r}")
    files: FileStore = here.files
    return files.keep_bytes(path.read_bytes())
