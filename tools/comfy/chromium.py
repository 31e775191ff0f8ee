"""Find a Chromium and its driver on this machine, or say what is missing.

Usage: ``python -m tools.comfy.chromium`` starts one and ends it; exit status 3 and a message if there is none.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLAYWRIGHT = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/Chromium.app/Contents/MacOS/Chromium")
MACOS = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-proxy-server",
    "--force-device-scale-factor=1",
)

MISSING = (
    "make test-browser needs {what}. Install Chromium with its driver (on Debian: apt-get install chromium chromium-driver), "
    "or set CHROME=/path/to/chrome and CHROMEDRIVER=/path/to/chromedriver."
)


class BrowserMissing(RuntimeError):
    """There is no browser, driver or selenium to test with; the message says which and how to get it."""


def find_chromium() -> Path | None:
    """CHROME, a browser on PATH, one of playwright's, or macOS's; None if selenium shall look for one."""
    if os.environ.get("CHROME"):
        return Path(os.environ["CHROME"])
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    for pattern in PLAYWRIGHT:
        if found := sorted(cache.glob(pattern)):
            return found[-1]
    return MACOS if MACOS.exists() else None


def start_browser(width: int = 1700, height: int = 1050):
    """A headless Chromium under selenium.

    Raises:
        BrowserMissing: selenium, the browser or its driver cannot be found or started.
    """
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        raise BrowserMissing(MISSING.format(what="the Python package selenium (pip install selenium)")) from None
    options = webdriver.ChromeOptions()
    for switch in (*SWITCHES, f"--window-size={width},{height}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chromium = find_chromium()
    if chromium is not None:
        options.binary_location = str(chromium)
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    try:
        # Without a driver on this machine, selenium's own manager fetches one that fits.
        browser = webdriver.Chrome(options=options, service=Service(driver) if driver else None)
    except WebDriverException as error:
        found = f"browser: {chromium or 'none'}, driver: {driver or 'none'}; {str(error).splitlines()[0]}"
        raise BrowserMissing(MISSING.format(what=f"a Chromium that starts ({found})")) from error
    browser.set_script_timeout(120)
    browser.set_page_load_timeout(120)
    return browser


def main() -> int:
    try:
        browser = start_browser()
    except BrowserMissing as missing:
        print(missing, file=sys.stderr)
        return 3
    print(f"{browser.capabilities['browserName']} {browser.capabilities['browserVersion']}")
    browser.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
