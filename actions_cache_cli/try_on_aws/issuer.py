"""An issuer of tokens for one try: its key stays in this process, its public half is served by API Gateway alone.

So no runner is needed, and nobody else's token comes in.
"""

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

STAGE = "v1"
FOLDER, FILE = ".well-known", "jwks"
PATH = f"/{FOLDER}/{FILE}"
OUTPUT = "IssuerUrl"
READ_WRITE = 3
VALID_SECONDS = 4 * 3600
KEY_ID = "try"


class ThrowawayIssuer:
    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.repository = str(10**9 + secrets.randbelow(10**9))

    @property
    def key_set(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def token(self, url: str) -> str:
        now = int(time.time())
        claims = {
            "iss": url,
            "nbf": now - 60,
            "exp": now + VALID_SECONDS,
            "repository_id": self.repository,
            "ac": json.dumps([{"Scope": "refs/heads/main", "Permission": READ_WRITE}]),
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def claims(self, url: str) -> str:
        """Return the parameter TokenClaims that lets in these tokens and no others."""
        return f"repository_id={self.repository}@{url}"

    def template(self) -> dict[str, Any]:
        """Return a stack that serves the public key and runs nothing."""
        method = {
            "RestApiId": {"Ref": "Api"},
            "ResourceId": {"Ref": "KeySet"},
            "HttpMethod": "GET",
            "AuthorizationType": "NONE",
            "MethodResponses": [{"StatusCode": "200"}],
            "Integration": {
                "Type": "MOCK",
                "RequestTemplates": {"application/json": '{"statusCode": 200}'},
                "IntegrationResponses": [
                    {"StatusCode": "200", "ResponseTemplates": {"application/json": json.dumps(self.key_set)}}
                ],
            },
        }
        return {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": "The public key of a try of the actions cache. Delete it.",
            "Resources": {
                "Api": {
                    "Type": "AWS::ApiGateway::RestApi",
                    "Properties": {
                        "Name": {"Ref": "AWS::StackName"},
                        "EndpointConfiguration": {"Types": ["REGIONAL"]},
                    },
                },
                "WellKnown": _resource(FOLDER, {"Fn::GetAtt": ["Api", "RootResourceId"]}),
                "KeySet": _resource(FILE, {"Ref": "WellKnown"}),
                "GetKeySet": {"Type": "AWS::ApiGateway::Method", "Properties": method},
                "Deployment": {
                    "Type": "AWS::ApiGateway::Deployment",
                    "DependsOn": "GetKeySet",
                    "Properties": {"RestApiId": {"Ref": "Api"}},
                },
                "Stage": {
                    "Type": "AWS::ApiGateway::Stage",
                    "Properties": {
                        "RestApiId": {"Ref": "Api"},
                        "DeploymentId": {"Ref": "Deployment"},
                        "StageName": STAGE,
                    },
                },
            },
            "Outputs": {
                OUTPUT: {
                    "Value": {"Fn::Sub": f"https://${{Api}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}/{STAGE}"}
                }
            },
        }


def _resource(path: str, parent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGateway::Resource",
        "Properties": {"RestApiId": {"Ref": "Api"}, "ParentId": parent, "PathPart": path},
    }
