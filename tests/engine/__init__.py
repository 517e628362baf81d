"""Tests of the engine. Those in a module of another name than `test_*` say as much when they fail."""

import pytest

pytest.register_assert_rewrite("tests.engine.contract")
