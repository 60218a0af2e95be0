import pytest

from local.template import Template


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.load()
