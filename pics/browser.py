"""Drive a page of headless Chromium through its DevTools protocol.

with browser.page() as page:
    page.open("http://localhost:5000")
    page.wait_for("document.title == 'MLflow'", "the start page")
    page.screenshot(Path("ui.png"))
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import websocket

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    # Root, and a container's user, have no sandbox; nothing but our own pages is opened.
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0"),
)


class BrowserError(Exception):
    """What the page was asked for did not come."""


class Page:
    """One page of a browser, which the context manager `page` starts and ends."""

    def __init__(self, address: str, deadline_s: float) -> None:
        self._socket = websocket.create_connection(
            address, timeout=deadline_s, suppress_origin=True, enable_multithread=False
        )
        self._numbers = itertools.count(1)
        self.deadline_s = deadline_s

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a DevTools command; return its result. Raises BrowserError."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != number:
            pass  # an event
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        self._socket.close()

    def open(self, url: str) -> None:
        """Go to `url`; wait_for() says when what is wanted is there."""
        failed = self.send("Page.navigate", url=url).get("errorText")
        if failed:
            raise BrowserError(f"{url}: {failed}")

    def resize(self, width: int, height: int, scale: float) -> None:
        """Make the window this many CSS pixels, and a picture of it `scale` times that."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def before_each(self, script: str) -> None:
        """Run a script in each document before its own scripts."""
        self.send("Page.enable")
        self.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    def value(self, js: str) -> Any:
        """Return what the expression gives in the page. Raises BrowserError if it throws."""
        answer = self.send("Runtime.evaluate", expression=js, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(answer["result"].get("description", "exception"))
        return answer["result"].get("value")

    def wait_for(self, js: str, what: str) -> Any:
        """Return the expression's value as soon as it is true. Raises BrowserError."""
        end, thrown = time.monotonic() + self.deadline_s, ""
        while time.monotonic() < end:
            try:
                if value := self.value(js):
                    return value
                thrown = ""
            except BrowserError as error:  # also: the document is just being replaced
                thrown = f" ({error})"
            time.sleep(0.1)
        shown = self.value("location + '\\n' + document.body.innerText.slice(0, 800)")
        raise BrowserError(f"no {what} in {self.deadline_s:.0f} s{thrown}; the page shows: {shown}")

    def click(self, js: str, what: str) -> None:
        """Click the element that the expression gives, as soon as it is there."""
        self.wait_for(f"(e => e && (e.click(), true))({js})", what)

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as a PNG."""
        answer = self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))


def find() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def page(width: int = 1280, height: int = 800, deadline_s: float = 120) -> Iterator[Page]:
    """Start a browser that remembers nothing, and end it. Raises BrowserError."""
    program = find()
    if program is None:
        raise BrowserError(f"no Chromium is installed (looked for {', '.join(NAMES)})")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        profile = Path(folder)
        words = [program, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        with (profile / "log").open("wb") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            with closing(_new_page(process, profile, deadline_s)) as opened:
                yield opened
        finally:
            process.terminate()
            process.wait()


def _new_page(process: subprocess.Popen[bytes], profile: Path, deadline_s: float) -> Page:
    port, path = _server(process, profile, deadline_s)
    with closing(Page(f"ws://127.0.0.1:{port}{path}", deadline_s)) as browser:
        target = browser.send("Target.createTarget", url="about:blank")["targetId"]
    return Page(f"ws://127.0.0.1:{port}/devtools/page/{target}", deadline_s)


def _server(process: subprocess.Popen[bytes], profile: Path, deadline_s: float) -> tuple[str, str]:
    """Return port and path of the DevTools server, which Chromium writes into its profile."""
    end, address = time.monotonic() + deadline_s, profile / "DevToolsActivePort"
    while process.poll() is None and time.monotonic() < end:
        if address.exists() and len(lines := address.read_text().split()) == 2:
            return lines[0], lines[1]
        time.sleep(0.1)
    log = (profile / "log").read_text(errors="replace")[-1000:]
    raise BrowserError(f"Chromium did not start: {log}")
