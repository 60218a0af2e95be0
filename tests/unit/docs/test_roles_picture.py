"""docs/images/roles.svg shows the template's rights, all of them."""

from typing import Any

import pytest

from dev.docs.roles_picture import EDGE, PICTURE, picture, rights
from dev.local.template import ROOT, Template


def test_picture_shows_the_template_rights(template: Template) -> None:
    assert PICTURE.read_text() == picture(rights(template)), "run: python -m dev.docs.roles_picture"
    page = ROOT / "docs" / "deploy" / "security.md"
    assert f"](../images/{PICTURE.name})" in page.read_text()


def test_rights_are_read_from_the_roles(template: Template) -> None:
    found = rights(template)
    assert {name.removesuffix("Function").lower() for name in template.functions} | {EDGE} == found.keys()
    assert found["download"]["Bucket"] == ["read"]
    assert found["rotate"] == {"UrlSigningSecret": ["read", "write"], "EdgeSecrets": ["read", "write"]}
    assert [name for name, held in found.items() if "delete" in held.get("Bucket", ())] == ["cleanup"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"Action": "s3:PutObjectAcl"}, "s3:PutObjectAcl is new"),
        ({"Action": "s3:*"}, "s3:\\* is new"),
        ({"Resource": "*"}, "isn't one of the stack's"),
        ({"Resource": {"Ref": "Edge"}}, "Edge is new"),
    ],
)
def test_unknown_right_is_refused(template: Template, changed: dict[str, Any], said: str) -> None:
    resources = template.body["Resources"]
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::GetAtt": ["Bucket", "Arn"]}} | changed
    role = {"Type": "AWS::IAM::Role", "Properties": {"Policies": [{"PolicyDocument": {"Statement": [statement]}}]}}
    with pytest.raises(ValueError, match=said):
        rights(Template(template.body | {"Resources": resources | {"MergeRole": role}}))
