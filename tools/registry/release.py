"""Build the archive that the Comfy Registry serves, print its size, and name the repository in pyproject.toml.

Usage:
    python -m tools.registry.release            write out/acfun-VERSION.zip from what is committed, print its size
    python -m tools.registry.release --urls REPO    fill in the links of pyproject.toml for OWNER/NAME on GitHub
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

REPO = Path(__file__).resolve().parents[2]
OUT = REPO / "out"
MIDNIGHT = (1980, 1, 1, 0, 0, 0)
LINKED = ("Icon", "Banner")


def ignore_patterns(text: str) -> list[str]:
    """The patterns of a .comfyignore.

    Raises:
        ValueError: a pattern of a kind that this file does not use (negation, several stars).
    """
    patterns = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for pattern in patterns:
        if pattern.startswith("!") or "**" in pattern:
            raise ValueError(f"{pattern!r} in .comfyignore: only names, folders with a slash and single stars are used")
    return patterns


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether a path relative to the repository is left out: a folder of it, its name or all of it matches."""
    parts = PurePosixPath(path).parts
    for pattern in patterns:
        names = PurePosixPath(pattern.strip("/")).parts
        # A slash at the start or in the middle ties a pattern to the repository's root, as in .gitignore.
        anchored = pattern.startswith("/") or len(names) > 1
        candidates = parts[:-1] if pattern.endswith("/") else parts
        if anchored and _match(candidates[: len(names)], names):
            return True
        if not anchored and any(fnmatch.fnmatchcase(part, names[0]) for part in candidates):
            return True
    return False


def _match(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    return len(parts) == len(names) and all(map(fnmatch.fnmatchcase, parts, names))


def archived_files() -> list[str]:
    """Committed files that belong into the archive, sorted."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    patterns = ignore_patterns((REPO / ".comfyignore").read_text(encoding="utf-8"))
    return sorted(path for path in listed.stdout.split("\0") if path and not is_ignored(path, patterns))


def version() -> str:
    found = re.search(r'^version = "([^"]+)"$', (REPO / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError("pyproject.toml names no version")
    return found[1]


def build(path: Path | None = None) -> Path:
    """Write the archive; the same files give the same bytes."""
    path = path or OUT / f"acfun-{version()}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in archived_files():
            entry = zipfile.ZipInfo(name, MIDNIGHT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, (REPO / name).read_bytes())
    return path


def with_links(text: str, repository: str) -> str:
    """pyproject.toml with the repository's address, and icon and banner as the links that the registry wants.

    Raises:
        ValueError: not OWNER/NAME, or a line to fill in is missing.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is not OWNER/NAME")
    for key in LINKED:
        raw = f"https://raw.githubusercontent.com/{repository}/HEAD/"
        text, count = re.subn(rf'^{key} = "(?!https:)([^"]+)"$', rf'{key} = "{raw}\1"', text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"pyproject.toml has no {key} to link")
    if "[project.urls]" in text:
        raise ValueError("pyproject.toml has links already")
    urls = f'[project.urls]\nRepository = "https://github.com/{repository}"\n\n'
    return text.replace("[tool.comfy]\n", urls + "[tool.comfy]\n", 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--urls", metavar="OWNER/NAME", help="fill in the links of pyproject.toml and stop")
    arguments = parser.parse_args()
    pyproject = REPO / "pyproject.toml"
    try:
        if arguments.urls:
            pyproject.write_text(with_links(pyproject.read_text(encoding="utf-8"), arguments.urls), encoding="utf-8")
            return 0
        path = build()
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    with zipfile.ZipFile(path) as archive:
        largest = sorted(archive.infolist(), key=lambda entry: -entry.compress_size)[:5]
        print(f"{path.relative_to(REPO)}: {path.stat().st_size / 1e6:.1f} MB, {len(archive.infolist())} files")
    for entry in largest:
        print(f"  {entry.compress_size / 1e6:8.2f} MB  {entry.filename}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
