"""Raw requests of the v1 API's clients (docs/design/protocol.md#v1-api), one connection each."""

import json
from dataclasses import dataclass
from typing import Any

from dev.clients.wire import VERSION, Reply, send

ROOT = "_apis/artifactcache"


@dataclass(frozen=True)
class V1:
    server: str
    token: str

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        usual = {"Authorization": f"Bearer {self.token}", "User-Agent": "actions/cache"}
        return send(method, f"{self.server}/{ROOT}/{path}", body, usual | headers)

    def post(self, path: str, **message: Any) -> Reply:
        return self.ask("POST", path, json.dumps(message).encode(), **{"Content-Type": "application/json"})

    def reserve(self, key: str = "key") -> int:
        reply = self.post("caches", key=key, version=VERSION)
        assert reply.status == 201, reply.body
        number: int = reply.json["cacheId"]
        return number

    def chunk(self, number: object, content_range: str, body: bytes) -> Reply:
        chunked = {"Content-Range": content_range, "Transfer-Encoding": "chunked"}
        chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        return self.ask("PATCH", f"caches/{number}", chunks + b"0\r\n\r\n", **chunked)

    def commit(self, number: object, size: int) -> Reply:
        return self.post(f"caches/{number}", size=size)

    def look_up(self, keys: str = "key") -> Reply:
        return self.ask("GET", f"cache?keys={keys}&version={VERSION}")

    def list_similar(self, key: str) -> Reply:
        return self.ask("GET", f"caches?key={key}")
