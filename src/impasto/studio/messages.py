"""What goes over the wire: the API's requests and answers, from which its schema is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from impasto.jobs.job import JobState, Wish

Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(pattern="^[0-9a-f]{20}$")]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# --- what inputs and files are given as ---------------------------------------------------------


class UploadSource(_Message):
    """A file that was uploaded."""

    upload: Id


class SampleSource(_Message):
    """A sample picture that comes with Impasto."""

    sample: Name


class ResultSource(_Message):
    """What another job made: one of its files, or its whole folder."""

    job: Id
    result: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="The file's name; the folder of all, if not given."
    )


class JobFileSource(_Message):
    """A file or a folder that another job is made from: of an input, or of an option."""

    job: Id
    input: Name = Field(description="The input's name, or the option's.")
    number: Annotated[int, Field(ge=0, le=9999)] = 0


class WordSource(_Message):
    """A word that the operation knows: a style of a model, a class, a subject."""

    name: Name


FileSource = UploadSource | SampleSource | ResultSource | JobFileSource


class FolderSource(_Message):
    """A folder of files, by their paths in it: cats/1.png."""

    files: Annotated[dict[str, FileSource], Field(min_length=1)]


Source = FileSource | WordSource | FolderSource


class JobRequest(_Message):
    """A job that is asked for."""

    operation: Name = Field(description="One of GET /api/v1/operations.")
    inputs: dict[str, list[Source]] = Field(
        default_factory=dict, description="What goes in, by the operation's names of inputs."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="As the operation's schema says; one that names a file has a source there.",
    )
    recipe: Name | None = Field(
        default=None, description="A recipe whose options are taken where none are given."
    )
    format: Literal["png", "jpg", "webp", "tif"] = Field(
        default="png", description="Of the result, where that is one picture."
    )
    label: Annotated[str, Field(max_length=200)] = ""


class InstantRequest(_Message):
    """One pass over a small picture, which is waited for."""

    content: FileSource
    style: list[FileSource | WordSource] = Field(default_factory=list, max_length=8)
    options: dict[str, Any] = Field(default_factory=dict)
    format: Literal["png", "jpg", "webp"] = "jpg"


class RegionsRequest(_Message):
    """Two pictures whose regions are paired."""

    content: FileSource
    like: FileSource
    regions: Annotated[int, Field(ge=1, le=64)] = 8


class LiveSettings(_Message):
    """How a camera's pictures are painted, as with ``InstantRequest``."""

    style: list[FileSource | WordSource] = Field(default_factory=list, max_length=8)
    options: dict[str, Any] = Field(default_factory=dict)
    format: Literal["jpg", "webp", "png"] = "jpg"


class MoveRequest(_Message):
    """Where a job goes in its queue."""

    before: Id | None = Field(default=None, description="Another job; to the end, if not given.")


# --- answers ------------------------------------------------------------------------------------


class ErrorAnswer(BaseModel):
    """What was wrong, in one line."""

    error: str


class UploadInfo(BaseModel):
    """An upload."""

    id: str
    name: str
    kind: str = Field(description="What inputs it fits: picture, film, model.")
    format: str
    size: int = Field(description="Bytes.")
    sha256: str
    width: int
    height: int
    seconds: float | None = Field(description="Of a film, where that is known.")
    has_recipe: bool = Field(description="Whether Impasto painted it.")
    styles: list[str] = Field(description="That a model has learnt.")
    created: float = Field(description="Seconds since 1970.")
    content: str = Field(description="Where its bytes are.")
    thumbnail: str | None


class InputInfo(BaseModel):
    """A value of a job's input."""

    name: str
    content: str | None = Field(description="Where its bytes are, if it is a file.")
    thumbnail: str | None
    files: int = Field(description="How many files a folder has.")
    sha256: str | None = Field(description="Of a file.")


class ResultInfo(BaseModel):
    """A file that a job made."""

    name: str
    size: int
    sha256: str
    width: int
    height: int
    content: str
    thumbnail: str | None


class StepInfo(BaseModel):
    """How far a job has come."""

    number: int
    steps: int = Field(description="In all; 0 where that is not known.")
    text: str
    size: tuple[int, int] = Field(description="Width and height of what is worked on.")
    seconds: float
    measured: dict[str, float] = Field(description="Losses and scores by name.")


class JobInfo(BaseModel):
    """A job."""

    id: str
    operation: str
    state: JobState
    label: str
    inputs: dict[str, list[InputInfo]]
    options: dict[str, Any] = Field(description="Those that were given; files by their names.")
    format: str
    wish: Wish | None = Field(description="What a running job is about to do.")
    turn: int | None = Field(description="Its place among those that wait, from 1.")
    attempts: int
    created: float
    started: float | None
    ended: float | None
    seconds: float = Field(description="Of work, in all attempts.")
    progress: StepInfo | None
    notes: list[str]
    error: str | None
    preview: str | None = Field(description="Where it can be seen as it stands.")
    preview_step: int
    results: list[ResultInfo] = Field(description="The first few, in lists and events.")
    result_count: int
    favourite: bool = Field(description="Marked by somebody who likes it.")
    version: int


class JobList(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobInfo]
    more: str | None = Field(description="What 'before' takes for those that follow.")
    counts: dict[str, int] = Field(description="How many jobs there are in each state.")
    event: str = Field(description="The last event: follow /api/v1/events after it.")


class UploadPage(BaseModel):
    """Uploads, the newest first."""

    uploads: list[UploadInfo]
    more: str | None


class JobIds(BaseModel):
    """Jobs by their ids."""

    jobs: list[str]


class HistoryAnswer(BaseModel):
    """What a job measured at each step, every second one where there are very many."""

    steps: list[StepInfo]


class InputDeclaration(BaseModel):
    """An input of an operation."""

    name: str
    kind: str
    about: str
    least: int
    most: int | None = Field(description="Any number, if null.")
    by_name: bool = Field(description="Whether words are taken too.")


class OperationInfo(BaseModel):
    """What an operation takes, and what comes out."""

    name: str
    about: str
    inputs: list[InputDeclaration]
    output: str
    done: str


class OperationSchema(OperationInfo):
    """The same with its options."""

    options: dict[str, Any] = Field(description="A JSON schema; x-group and x-file for forms.")


class OperationList(BaseModel):
    """All operations."""

    operations: list[OperationInfo]


class RecipeInfo(BaseModel):
    """A recipe that comes with Impasto."""

    name: str
    about: str
    operation: str
    options: dict[str, Any]


class RecipeList(BaseModel):
    """All of them."""

    recipes: list[RecipeInfo]


class StyleInfo(BaseModel):
    """A style to begin with: a sample picture, or one that a network has learnt."""

    name: str
    about: str
    source: SampleSource | WordSource
    sha256: str | None = Field(description="Of the picture.")
    model: str | None = Field(description="The value of the option 'model' that goes with it.")
    content: str | None
    thumbnail: str | None


class StyleList(BaseModel):
    """All of them."""

    styles: list[StyleInfo]


class PhotographInfo(BaseModel):
    """A free photograph to begin with."""

    name: str
    credit: str
    licence: str
    source: SampleSource
    sha256: str
    content: str
    thumbnail: str


class PhotographList(BaseModel):
    """All of them; none where scikit-image, which they come with, is not installed."""

    photographs: list[PhotographInfo]


class RecipeInput(BaseModel):
    """A picture that another was made from."""

    name: str
    digest: str | None
    upload: str | None = Field(description="The same picture among the uploads.")


class RegionMap(BaseModel):
    """Where a picture's regions are."""

    width: int
    height: int
    numbers: str = Field(description="One byte a pixel, row by row, in base64: a region, from 1.")


class RegionsAnswer(BaseModel):
    """The regions of two pictures; equal numbers take their light from one another."""

    count: int
    content: RegionMap
    like: RegionMap


class UploadRecipe(BaseModel):
    """What a picture was made from, by what, and how."""

    operation: str
    options: dict[str, Any] = Field(description="Those that differ from the defaults.")
    files: dict[str, list[str]] = Field(description="Names of files, by the options they go to.")
    inputs: dict[str, list[RecipeInput]]
    version: str


class StorageInfo(BaseModel):
    """How much is kept."""

    used: int
    quota: int
    free: int


class LimitInfo(BaseModel):
    """What a client may take."""

    upload_bytes: int
    megapixels: float
    instant_megapixels: float
    queue: int
    client_queue: int
    kinds: dict[str, list[str]] = Field(description="Kinds of files, and their formats.")


class StudioInfo(BaseModel):
    """The server."""

    version: str
    secure: bool = Field(description="Whether it is served by TLS: a camera needs that.")
    storage: StorageInfo
    limits: LimitInfo
    counts: dict[str, int]
    event: str


class LinkInfo(BaseModel):
    """A link that lets another browser in, once."""

    link: str
    seconds: int
