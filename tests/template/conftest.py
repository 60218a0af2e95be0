import pytest

from tests.template.declared import Template


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.load()
