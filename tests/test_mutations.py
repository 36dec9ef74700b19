"""The mutation check's table fits the code."""

import pytest

import mutations


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda mutation: mutation.old)
def test_line_stands_once_and_has_tests(mutation):
    assert (mutations.ROOT / mutation.file).read_text("utf-8").count(mutation.old) == 1
    assert mutation.old != mutation.new
    assert all((mutations.ROOT / test).exists() for test in mutations.tests_of(mutation.file))
