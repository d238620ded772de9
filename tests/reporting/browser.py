"""A headless Chromium that tests talk to through its debugging pipe; needs no package beside the browser itself."""

import base64
import json
import os
import shutil
import subprocess
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Browser:
    """One tab: `open` a page, `js` to ask it something, `key`, `mouse` and `size` as a person has them."""

    def __init__(self, profile):
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            pytest.skip("there is no Chromium (Debian and Ubuntu: apt-get install chromium)")
        # Chromium reads commands from its file 3 and writes answers to its file 4.
        there, self._out = os.pipe()
        self._in, here = os.pipe()
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")
        plain = ("--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", f"--user-data-dir={profile}")
        command = ["bash", "-c", f'exec "$0" "$@" 3<&{there} 4>&{here}', program, *flags, *plain, "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(there, here), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(there), os.close(here)
        self._buffer, self._number, self._session, self.messages = b"", 0, None, []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def close(self):
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._out), os.close(self._in)

    def _ask(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.messages.append(answer)

    def _next(self):
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has gone"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def open(self, path):
        """Loads a file; returns the seconds until its script was done."""
        self.messages.clear()
        start = time.monotonic()
        self._ask("Page.navigate", url=f"file://{path}")
        while self.js("document.readyState") != "complete" or not self.js("!!document.documentElement.dataset.ready"):
            assert time.monotonic() - start < 30, "the page does not get ready"
            time.sleep(0.02)
        return time.monotonic() - start

    def js(self, expression):
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self):
        """What the console and the network have to say: errors, warnings, and whatever was fetched from elsewhere."""
        found = []
        for message in self.messages:
            kind, about = message.get("method"), message.get("params", {})
            if kind == "Runtime.exceptionThrown" or (
                kind == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning")
            ):
                found.append(about)
            elif kind == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
                found.append(about["entry"])
            elif kind == "Network.requestWillBeSent" and not about["request"]["url"].startswith(("file:", "data:")):
                found.append(about["request"]["url"])
        return found

    def size(self, width, height, dark=False):
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def key(self, name, text=None):
        codes = {"ArrowLeft": 37, "ArrowRight": 39, "Tab": 9, "Escape": 27}
        about = {"key": name, "windowsVirtualKeyCode": codes.get(name, ord(name[0].upper()))}
        if text or len(name) == 1:
            about["text"] = text or name
        self._ask("Input.dispatchKeyEvent", type="keyDown", **about)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=name)

    def mouse(self, kind, x, y, pressed=False):
        button = "left" if pressed or kind != "mouseMoved" else "none"
        buttons = 1 if pressed else 0
        self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1)

    def place(self, selector):
        """The rectangle of an element, scrolled into view: left, top, width, height."""
        found = f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
        rectangle = "const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height];"
        return self.js(f"(() => {{ {found} {rectangle} }})()")

    def screenshot(self, path):
        """The whole page as PNG."""
        metrics = self._ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": metrics["width"], "height": metrics["height"], "scale": 1}
        data = self._ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))
