"""Files of a web server, whose folders are pages with links."""

import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from vesalius.config.errors import InputError
from vesalius.data.remote.server import Entry, Unreachable, absent, refused

_TIMEOUTS = (10, 60)  # seconds to connect, and between two blocks
_RETRIES = Retry(total=3, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
_BLOCK = 2**20
_LONGEST_PAGE = 64 * 2**20
_DEEPEST = 32


class WebServer:
    """A web server, read with the credentials of `~/.netrc` and through the proxy of the environment.

    Args:
        scheme: `http` or `https`.
        host: with its port, if any.
    """

    def __init__(self, scheme: str, host: str) -> None:
        self._base, self._of_thread = f"{scheme}://{host}/", threading.local()

    def below(self, folder: str) -> Iterator[Entry]:
        """Every file that the page of the folder, and those of the folders inside, link to."""
        found, waiting = False, [(f"{folder}/".lstrip("/"), 0)]
        while waiting:
            name, depth = waiting.pop()
            for link in sorted(self._links(name)):
                found = True
                if not link.endswith("/"):
                    yield Entry(link, None, None)
                elif depth < _DEEPEST:
                    waiting.append((link, depth + 1))
        if not found:
            raise InputError(
                f"{self._base}{folder} lists no files: its server shows no folders, so list the files in a table "
                "(data=table), whose manifest may have an address too."
            )

    def entry(self, name: str) -> Entry | None:
        """The header of a file."""
        with self._reply("HEAD", name) as reply:
            is_folder = urlsplit(reply.url).path.endswith("/")  # to which a name without a slash is redirected
            return None if is_folder or reply.status_code in (404, 410) else _entry(name, reply)

    def read(self, name: str) -> tuple[Entry, Iterator[bytes]]:
        """A file, byte for byte as it is sent."""
        reply = self._reply("GET", name)
        if reply.status_code in (404, 410):
            raise absent(self._base + name)
        return _entry(name, reply), _blocks(reply)

    def _links(self, folder: str) -> set[str]:
        entry, blocks = self.read(folder)
        page = b""
        for block in blocks:
            page += block
            if len(page) > _LONGEST_PAGE:
                raise InputError(f"{self._base}{entry.name} is no page of a folder: correct the address.")
        parser = _Links()
        parser.feed(page.decode(errors="replace"))
        base = urljoin(self._base, quote(folder))
        links = (urlsplit(urljoin(base, link)) for link in parser.links)
        top, depth = urlsplit(base), folder.count("/") + 1
        names = {unquote(link.path).lstrip("/") for link in links if link.netloc == top.netloc and not link.query}
        return {name for name in names if name.startswith(folder) and name.strip("/").count("/") + 1 == depth}

    def _reply(self, method: str, name: str) -> requests.Response:
        headers = {"Accept-Encoding": "identity"}
        try:
            reply = self._session.request(
                method, self._base + quote(name), headers=headers, stream=True, timeout=_TIMEOUTS, allow_redirects=True
            )
        except requests.RequestException as error:
            raise Unreachable(type(error).__name__) from error
        if reply.status_code >= 400:
            reply.close()  # the page of an error is not read, and its connection would stay open
        if reply.status_code in (401, 403):
            raise refused(self._base + name, "its login belongs in ~/.netrc")
        if reply.status_code >= 400 and reply.status_code not in (404, 410):
            raise Unreachable(f"status {reply.status_code}")
        return reply

    @property
    def _session(self) -> requests.Session:
        """A session for each thread, which keeps its connection."""
        if not hasattr(self._of_thread, "session"):
            session = self._of_thread.session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
        found: requests.Session = self._of_thread.session
        return found


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _entry(name: str, reply: requests.Response) -> Entry:
    length = reply.headers.get("Content-Length", "")
    tag = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
    return Entry(name, int(length) if length.isdecimal() and len(length) < 20 else None, tag)


def _blocks(reply: requests.Response) -> Iterator[bytes]:
    try:
        with reply:
            yield from reply.raw.stream(_BLOCK, decode_content=False)
    except (HTTPError, OSError) as error:
        raise Unreachable(type(error).__name__) from error
