"""Settings shared by all tests."""

from __future__ import annotations

import pytest


class RootIsNotAPackage:
    """The repository root has an ``__init__.py`` for ComfyUI; pytest must not import it as a test package."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path, parent):
        if path == parent.config.rootpath:
            return pytest.Dir.from_parent(parent, path=path)
        return None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsNotAPackage(), "acfun-root-is-not-a-package")
