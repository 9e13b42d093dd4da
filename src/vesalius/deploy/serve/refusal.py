"""Why a request is refused, as JSON: the problem and its cure."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from vesalius.config.errors import InputError

_STATUS_OF_A_CLIENT_THAT_LEFT = 499
_CURES = {404: "See /openapi.json for the paths.", 405: "See /openapi.json for the methods of this path."}


class Refusal(BaseModel):
    """The body of every response that is an error."""

    problem: str = Field(description="What was wrong, naming the file or the limit.")
    cure: str = Field(description="What to do about it; may be empty where the problem states it.")


class Refused(Exception):
    """Ends a request with an error that the client can mend.

    Args:
        status: of HTTP, 400 to 499 or 503.
        problem: one sentence without the full stop.
        cure: one sentence.
        headers: more headers of the response.
    """

    def __init__(self, status: int, problem: str, cure: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem)
        self.status, self.problem, self.cure, self.headers = status, problem, cure, dict(headers or {})

    @classmethod
    def of_input(cls, error: InputError) -> "Refused":
        """Of input that the model cannot take."""
        problem, cure = split_problem(" ".join(error.problems))
        return cls(422, problem, cure)

    def response(self) -> Response:
        """The error as JSON."""
        content = Refusal(problem=self.problem, cure=self.cure).model_dump()
        return JSONResponse(content, self.status, self.headers)


def split_problem(message: str) -> tuple[str, str]:
    """Problem and cure of a message such as `a.png is empty (0 bytes): replace it.`"""
    problem, _, cure = message.rpartition(": ")
    if not problem:
        return message, ""
    return problem, cure[:1].upper() + cure[1:]


def busy(problem: str) -> Refused:
    """For a request that would succeed later."""
    return Refused(503, problem, "Try again in a moment.", {"Retry-After": "1"})


FAILURE = Refused(500, "The server failed", "Tell whoever runs it.")


def handle_refusals(app: FastAPI) -> None:
    """Give every error of an app the same form."""

    async def of_refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return error.response()

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Refused(
            error.status_code, str(error.detail), _CURES.get(error.status_code, ""), error.headers
        ).response()

    async def of_parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
        return Refused(422, found, "See /openapi.json for the parameters.").response()

    async def of_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=_STATUS_OF_A_CLIENT_THAT_LEFT)

    async def of_failure(request: Request, error: Exception) -> Response:  # which is raised on, to whoever logs it
        return FAILURE.response()

    app.add_exception_handler(Refused, of_refused)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_parameters)
    app.add_exception_handler(ClientDisconnect, of_disconnect)
    app.add_exception_handler(Exception, of_failure)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors of a path, for its OpenAPI description."""
    words = {
        400: "The body is not what its content type claims.",
        401: "The token is missing or wrong.",
        403: "The request comes from a page of another site, or names another host.",
        408: "The body did not arrive in time.",
        413: "The request is beyond a limit.",
        415: "The content type is none that is accepted.",
        422: "A parameter is wrong, or no input can be predicted.",
        503: "All are busy; see Retry-After.",
    }
    return {status: {"model": Refusal, "description": words[status]} for status in statuses}
