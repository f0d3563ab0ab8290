"""Operations declare all that a front needs to know of them."""

from __future__ import annotations

import inspect
import typing
from importlib import import_module

import pytest
from conftest import draw_picture
from PIL import Image

from impasto.cli.app import COMMANDS
from impasto.errors import OptionError
from impasto.operations import DEFAULT_OPERATION, OPERATIONS, find_operation
from impasto.options import Options
from impasto.work import Request

PARAMETERS = {"more": "style"}  # a command's parameter -> the input that it is, of another name


def find_class(name):
    module, _, kind = OPERATIONS[name].work.partition(":")
    return getattr(import_module(f"impasto.{module}"), kind)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_class_of_an_operation_is_work(name):
    kind = find_class(name)
    for method in ("from_request", "steps", "result"):
        assert callable(getattr(kind, method))
    assert issubclass(OPERATIONS[name].options, Options)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_input_is_a_parameter_of_its_command(name):
    name = name.partition("-")[0]
    module = import_module(f"impasto.cli.{COMMANDS[name].module}")
    command = getattr(module, f"{name}_command")
    parameters = {PARAMETERS.get(each, each) for each in inspect.signature(command).parameters}
    hints = typing.get_type_hints(command)
    parameters |= {field for hint in hints.values() for field in getattr(hint, "model_fields", {})}
    inputs = {each.name for each in OPERATIONS[name].inputs} - {"names"}
    assert inputs <= parameters | {"content" if "photo" in parameters else ""} | {
        "styles" if "style" in parameters else ""
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_inputs_that_are_missing_are_named(name):
    needed = [each for each in OPERATIONS[name].inputs if each.least]
    if not needed:
        return
    request = Request({}, OPERATIONS[name].options())
    with pytest.raises(OptionError, match=f"{needed[0].name} is missing"):
        find_operation(name).start(request)


def test_unknown_names_are_told():
    with pytest.raises(OptionError, match="unknown operation 'pant'; did you mean 'paint'"):
        find_operation("pant")
    request = Request({"contents": ("a",)}, OPERATIONS["paint"].options())
    with pytest.raises(OptionError, match="unknown input 'contents'; did you mean 'content'"):
        find_operation("paint").start(request)


def test_too_many_and_empty_inputs_are_refused():
    options = OPERATIONS["texture"].options()
    with pytest.raises(OptionError, match="style: 2 are given, and at most 1 goes"):
        find_operation("texture").start(Request({"style": ("a", "b")}, options))
    with pytest.raises(OptionError, match="style: a picture has an empty name"):
        find_operation("texture").start(Request({"style": ("",)}, options))


def test_options_of_another_operation_are_refused(photo, picture):
    inputs = {"content": (str(photo),), "style": (str(picture),)}
    request = Request(inputs, OPERATIONS["augment"].options())
    with pytest.raises(OptionError, match="options are a mapping or PaintOptions"):
        find_operation("paint").start(request)


def test_work_is_made_from_plain_data(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(draw_picture(48, 48, len(name))).save(tmp_path / name)
    inputs = {"content": (str(tmp_path / "a.png"),), "style": (str(tmp_path / "b.png"),)}
    operation = find_operation(DEFAULT_OPERATION)
    work = operation.start(Request(inputs, operation.options.read({"steps": 2, "size": 32})))
    assert [step.number for step in work.steps()] == [1, 2]
