"""A headless browser for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def program(*names: str) -> str:
    """The first program that is installed, or a skip."""
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    return pytest.skip(f"{names[0]} is not installed")


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Any]:
    """Headless Chromium with the log of its console and of its requests."""
    webdriver = pytest.importorskip("selenium.webdriver")
    driver = program("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", "chromium-browser", "google-chrome")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, service=webdriver.ChromeService(driver))
    started.set_page_load_timeout(60)
    yield started
    started.quit()


@pytest.fixture
def show(browser):
    """Open a page at a size and in colours; the console must stay without errors."""

    def open_page(path: Path, fragment: str = "", *, width=1200, height=900, scheme="light"):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get("about:blank")  # or only the fragment would change
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(path.as_uri() + fragment)
        return browser

    yield open_page
    assert browser.get_log("browser") == []
