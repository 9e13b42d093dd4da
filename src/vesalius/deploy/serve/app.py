"""The ASGI app: its paths, and what each takes and gives."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar, cast

from fastapi import FastAPI, Query, Request
from numpy.typing import NDArray
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from vesalius import __version__
from vesalius.config.diagnose import did_you_mean
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.serve.arrays import read_npy
from vesalius.deploy.serve.description import describe
from vesalius.deploy.serve.guard import OPEN, WORKING, Guard
from vesalius.deploy.serve.inference import Inference, Wanted
from vesalius.deploy.serve.limits import Limits
from vesalius.deploy.serve.refusal import Refused, documented, handle_refusals
from vesalius.deploy.serve.replies import Predictions
from vesalius.deploy.serve.usage import Usage

_NPY = "application/x-npy"
_MOST_FIELDS = 16
_ASSETS = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "One file or several: PNG, JPEG and other images; DICOM; NIfTI; or a zip archive of such, "
        "as of a series. Or an array of uint8, uint16 or float32 in the model's value range, as numpy.save writes it.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": _FILES},
                    "required": ["files"],
                    "additionalProperties": False,
                }
            },
            _NPY: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_STATUSES = (400, 401, 403, 408, 413, 415, 422, 503)
_PNG = {"description": "The picture.", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
Seconds = Annotated[
    list[Annotated[float, Query(ge=0, le=1e6)]] | None, Query(description="Of each frame of a series in an array.")
]
Target = Annotated[str | None, Query(description="The class or target that is explained; else the predicted one.")]
Result = TypeVar("Result")


def create_app(
    predictor: Predictor,
    limits: Limits,
    folder: Path,
    *,
    name: str,
    threads: int = 1,
    token: str | None = None,
    hosts: frozenset[str] = frozenset(),
    card: str | None = None,
) -> ASGIApp:
    """The app of a model.

    Args:
        predictor: of the model.
        limits: of a request.
        folder: private to this process; uploads lie in it while they are read.
        name: of the model.
        threads: that predict at the same time; more than 1 only for a model that several threads may use at once, as
            bundles are. Explanations of a model that torch computes change it meanwhile.
        token: that requests must carry as `Authorization: Bearer TOKEN`; None asks for none.
        hosts: names by which clients may call the server; empty for any.
        card: the model card as HTML.
    """
    inference = Inference(predictor, limits, folder, threads)
    usage = Usage({*WORKING, *OPEN, "/model", "/card", "/metrics"})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        inference.close()

    app = FastAPI(
        title=f"Vesalius: {name}",
        version=__version__,
        description="Predictions of a model for medical images. For research: it is no medical device.",
        docs_url=None,  # these pages load from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    handle_refusals(app)

    @app.post("/predict", responses=documented(*_STATUSES), response_model_exclude_none=True, openapi_extra=_BODY)
    async def predict(
        request: Request, explain: bool = False, preview: bool = False, seconds: Seconds = None
    ) -> Predictions:
        """Predict for files, or for an array: one entry per image or series, where it is refused with the reason."""
        wanted, times = Wanted(preview, explain), seconds or None
        found = await _work(
            request,
            inference,
            limits,
            lambda files: inference.predict_files(files, wanted),
            lambda array: inference.predict_array(array, times, wanted),
        )
        refused = sum(one.problem is not None for one in found.predictions)
        usage.add_inputs("refused", refused)
        usage.add_inputs("predicted", len(found.predictions) - refused)
        return found

    @app.post("/explain", responses={**documented(*_STATUSES), 200: _PNG}, response_class=Response, openapi_extra=_BODY)
    async def explain(request: Request, target: Target = None, seconds: Seconds = None) -> Response:
        """Draw where in an image or a series the model finds what it predicts, as PNG."""
        times = seconds or None
        png = await _work(
            request,
            inference,
            limits,
            lambda files: inference.explain_files(files, target),
            lambda array: inference.explain_array(array, times, target),
        )
        return Response(png, media_type="image/png")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the server takes requests."""
        return {"status": "ok"}

    description = describe(predictor, name, has_card=card is not None)

    @app.get("/model", responses=documented(401))
    async def model() -> dict[str, Any]:
        """What the model is: its classes, what inputs must be, how it decides, and its metrics with their intervals."""
        return description

    @app.get("/metrics", responses=documented(401), response_class=PlainTextResponse)
    async def metrics() -> str:
        """Counts of requests and inputs, for Prometheus."""
        return usage.render()

    if card is not None:
        policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"

        @app.get("/card", responses=documented(401), response_class=HTMLResponse)
        async def model_card() -> Response:
            """The model card."""
            return HTMLResponse(card, headers={"content-security-policy": policy})

    for path, (file, media_type) in _ASSETS.items():
        app.get(path, include_in_schema=False)(partial(_asset, file, media_type))
    return Guard(app, limits, token, hosts, usage)


async def _asset(file: str, media_type: str) -> Response:
    return Response(_read_asset(file), media_type=media_type)


@cache
def _read_asset(file: str) -> bytes:
    return (resources.files(__package__) / "page" / file).read_bytes()


async def _work(
    request: Request,
    inference: Inference,
    limits: Limits,
    of_files: Callable[[list[tuple[str, IO[bytes]]]], Result],
    of_array: Callable[[NDArray[Any]], Result],
) -> Result:
    """Read the body of a request, and do what is wanted with its files or its array in another thread."""
    options = {option.alias for option in request.scope["route"].dependant.query_params}
    _refuse_unknown(request.query_params.keys() - options, options, "There is no option")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _NPY:
        array = read_npy(await request.body(), limits)
        return await inference.run(lambda: of_array(array))
    if kind != "multipart/form-data":
        problem = f"The content type {kind[:80] or '(none)'} is not accepted"
        raise Refused(415, problem, f"Send multipart/form-data or {_NPY}.")
    try:
        async with request.form(max_files=limits.files, max_fields=_MOST_FIELDS) as form:
            texts = {name for name, field in form.multi_items() if not isinstance(field, UploadFile)}
            _refuse_unknown(texts, options, "The form may hold only files, and not")
            fields = [field for _, field in form.multi_items() if isinstance(field, UploadFile)]
            files = [(field.filename or "", cast(IO[bytes], field.file)) for field in fields]
            if not files:
                raise Refused(422, "The form holds no file", "Send one or several as files=@FILE.")
            return await inference.run(lambda: of_files(files))
    except FormParserError as error:
        raise Refused(400, "The body is no form as its content type claims", "Send multipart/form-data.") from error


def _refuse_unknown(found: Collection[str], options: Collection[str], problem: str) -> None:
    """Refuse what would be passed over without a word."""
    if found:
        name = min(found)
        near = did_you_mean(name, options).strip()
        raise Refused(422, f"{problem} {name[:80]!r}", f"Options stand in the address, as ?NAME=VALUE. {near}".rstrip())
