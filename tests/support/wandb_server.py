"""A W&B server on loopback that answers what W&B's client asks and keeps what it is sent.

Separate from `loopback.py`, whose servers misbehave: this one speaks W&B's language, as far as the
mirror needs it. It rejects what it does not understand and keeps it in `unknown`.
"""

import copy
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Values = dict[str, Any]
PROJECT = {"id": "p", "internalId": "p", "name": "gapwise", "entity": {"id": "e", "name": "me"}}
NAMES = {
    "displayName": "name",
    "groupName": "group",
    "jobType": "job_type",
    "tags": "tags",
    "notes": "notes",
    "program": "program",
}
HISTORY, SUMMARY, MANIFEST = "wandb-history.jsonl", "wandb-summary.json", "wandb_manifest.json"
VERSION = {
    "versionIndex": 0,
    "state": "COMMITTED",
    "size": 0,
    "fileCount": 0,
    "digest": "0",
    "commitHash": None,
}
LIVES = {
    "ttlDurationSeconds": 0,
    "ttlIsInherited": True,
    "createdAt": "2026-01-01",
    "updatedAt": None,
    "historyStep": None,
}


@dataclass
class Run:
    """One run, as W&B would show it."""

    project: str
    arguments: Values = field(default_factory=dict)  # by the names that `wandb.init` gives them
    config: Values = field(default_factory=dict)
    streamed: dict[str, list[Values]] = field(default_factory=dict)  # file -> its lines
    exit_code: int | None = None  # None until it has ended
    files: dict[str, bytes] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)  # names of artifacts

    def history(self) -> list[Values]:
        return [_plain(row, "_step") for row in self.streamed.get(HISTORY, [])]

    def summary(self) -> Values:
        return _plain(self.streamed[SUMMARY][-1], "path")


@dataclass
class Artifact:
    """The one version of an artifact that the mirror makes."""

    type: str
    metadata: Values
    files: dict[str, bytes] = field(default_factory=dict)
    committed: bool = False

    def contents(self) -> dict[str, bytes]:
        """Return its files, without W&B's list of them."""
        return {name: content for name, content in self.files.items() if name != MANIFEST}


@dataclass
class Kept:
    """What a server knows after all that it was sent; `answer` is how it learns."""

    address: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(
        default_factory=list
    )  # path, headers, body
    unknown: list[str] = field(default_factory=list)
    delay: float = 0.0  # seconds before every answer
    refusing: str | None = None  # requests with this in their path or the name of their question

    def shown(self) -> tuple[Values, Values]:
        """Return what is the same however often it is sent: of runs, and of artifacts."""
        runs = {
            name: (run.arguments, run.config, run.exit_code, run.used, _plain(run.summary()))
            for name, run in self.runs.items()
        }
        return copy.deepcopy(runs), {
            name: vars(item) | {"files": item.contents()} for name, item in self.artifacts.items()
        }

    def answer(self, path: str, body: bytes) -> Values:
        """Return the answer to a request.

        Raises:
            PermissionError: It is set to refuse the request.
            Exception: It does not understand the request.
        """
        if self.refusing and self.refusing.encode() in path.encode() + body[:60]:
            raise PermissionError
        folder, *rest = path.strip("/").split("/")
        if folder == "graphql":
            asked = json.loads(body)
            (name,) = re.findall(r"^\s*(?:query|mutation) (\w+)", asked["query"], re.MULTILINE)
            return {"data": getattr(self, f"_on_{name}")(asked.get("variables") or {})}
        if folder == "files" and rest[-1] == "file_stream":
            return self._stream(self.runs[rest[-2]], json.loads(body))
        place = {"runs": self.runs, "artifacts": self.artifacts}[folder]
        place[rest[0]].files["/".join(rest[1:])] = body
        return {}

    def _stream(self, run: Run, sent: Values) -> Values:
        """Write lines over those from their offset on."""
        for name, chunk in (sent.get("files") or {}).items():
            new = [json.loads(line) for line in chunk["content"]]
            run.streamed.setdefault(name, [])[chunk["offset"] : chunk["offset"] + len(new)] = new
        run.exit_code = sent["exitcode"] if sent.get("complete") else None
        return {}

    def _on_RunResumeStatus(self, given: Values) -> Values:
        run = self.runs.get(given["name"])
        if run is None:
            return {"model": None}
        lines = {
            name: [json.dumps(line) for line in run.streamed.get(name, [])]
            for name in (HISTORY, SUMMARY)
        }
        tails = {
            "historyTail": json.dumps(lines[HISTORY][-1:]),
            "eventsTail": "[]",
            "summaryMetrics": "".join(lines[SUMMARY][-1:]) or "{}",
        }
        counts = {"historyLineCount": len(lines[HISTORY]), "eventsLineCount": 0, "logLineCount": 0}
        config = json.dumps({key: {"value": value} for key, value in run.config.items()})
        fields = {theirs: run.arguments.get(ours) for theirs, ours in NAMES.items()}
        bucket = {
            "id": given["name"],
            "name": given["name"],
            "config": config,
            "wandbConfig": '{"t": {}}',
            **fields,
            **tails,
            **counts,
        }
        return {"model": PROJECT | {"bucket": bucket}}

    def _on_UpsertBucket(self, given: Values) -> Values:
        new, name = given["name"] not in self.runs, given["name"]
        run = self.runs.setdefault(name, Run(given["project"]))
        run.arguments |= {
            ours: given[theirs] for theirs, ours in NAMES.items() if given[theirs] is not None
        }
        run.config = {
            key: item["value"]
            for key, item in json.loads(given["config"]).items()
            if key != "_wandb"
        }
        bucket = {
            "id": name,
            "name": name,
            "project": PROJECT,
            "historyLineCount": len(run.history()),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _on_CreateRunFiles(self, given: Values) -> Values:
        files = [
            {"name": name, "uploadUrl": f"{self.address}/runs/{given['run']}/{name}"}
            for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _on_CreateArtifact(self, given: Values) -> Values:
        sent = given["input"]
        name = sent["artifactCollectionName"]
        self.artifacts.setdefault(
            name, Artifact(sent["artifactTypeName"], json.loads(sent["metadata"] or "{}"))
        )
        made = {"id": name, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": made}}

    def _on_CreateArtifactManifest(self, given: Values) -> Values:
        name = given["artifactID"]
        file = {
            "id": name,
            "uploadUrl": f"{self.address}/artifacts/{name}/{given['name']}",
            "uploadHeaders": [],
        }
        return {"createArtifactManifest": {"artifactManifest": {"id": name, "file": file}}}

    def _on_CreateArtifactFiles(self, given: Values) -> Values:
        edges = []
        for sent in given["input"]["artifactFiles"]:
            url = f"{self.address}/artifacts/{sent['artifactID']}/{sent['name']}"
            where = {
                "storagePath": sent["name"],
                "uploadUrl": url,
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
            }
            edges.append({"node": where | {"artifact": {"id": sent["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _on_CommitArtifact(self, given: Values) -> Values:
        self.artifacts[given["artifactID"]].committed = True
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "0"}}}

    def _on_UseArtifact(self, given: Values) -> Values:
        self.runs[given["input"]["runName"]].used.add(given["input"]["artifactID"])
        return {"useArtifact": {"artifact": {"id": given["input"]["artifactID"]}}}

    def _on_ArtifactByID(self, given: Values) -> Values:
        name = given["id"]
        kept = self.artifacts[name]
        named = {
            "id": name,
            "artifactSequence": {"name": name, "project": PROJECT},
            "artifactType": {"name": kept.type},
        }
        words = {
            "description": None,
            "metadata": json.dumps(kept.metadata),
            "tags": [],
            "aliases": [],
        }
        return {"artifact": named | words | VERSION | LIVES}

    def _on_Viewer(self, given: Values) -> Values:
        return {
            "viewer": {
                "id": "v",
                "entity": "me",
                "username": "me",
                "email": "",
                "flags": "{}",
                "teams": {"edges": []},
            }
        }

    def _on_GetDefaultEntity(self, given: Values) -> Values:
        return {"viewer": {"id": "v", "entity": "me"}}

    def _on_Runs(self, given: Values) -> Values:
        """Return the runs in pages of two."""
        start = int(given["cursor"] or 0)
        names = [name for name, run in self.runs.items() if run.project == given["project"]]
        if not names:
            return {"project": None}
        end = start + 2
        edges = [
            {"node": _listed(name, self.runs[name]), "cursor": str(end)}
            for name in names[start:end]
        ]
        page = {"endCursor": str(end), "hasNextPage": end < len(names)}
        counts = {"internalId": "1", "runCount": len(names), "readOnly": True}
        return {"project": counts | {"runs": {"edges": edges, "pageInfo": page}}}

    def _on_ServerFeaturesQuery(self, given: Values) -> Values:
        return {"serverInfo": {"features": []}}

    def _on_XXHashDigestsEnabled(self, given: Values) -> Values:
        return {"entity": {"xxhashDigestsEnabled": False}}

    def _on_ArtifactType(self, given: Values) -> Values:
        return {"project": {"artifact": None}}

    _on_FetchArtifactDigestAlgorithm = _on_ArtifactType


def _listed(name: str, run: Run) -> Values:
    """Return a run as a list of runs has it."""
    states = {None: "running", 0: "finished"}
    summary = run.streamed.get(SUMMARY, [{}])[-1]
    fields = {theirs: run.arguments.get(ours) for theirs, ours in NAMES.items()}
    return fields | {
        "id": name,
        "name": name,
        "projectId": "1",
        "state": states.get(run.exit_code, "crashed"),
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
        "summaryMetrics": json.dumps(summary),
        "systemMetrics": "{}",
        "group": run.arguments.get("group"),
        "user": {"name": "me", "username": "me"},
        "createdAt": "2026-01-01T00:00:00",
        "sweepName": None,
        "historyLineCount": 0,
        "historyKeys": None,
    }


def _plain(value: Any, *kept: str) -> Any:
    """Return values without W&B's own entries, such as its clock, and names drawn each time."""
    if not isinstance(value, dict):
        return value
    return {
        key: _plain(item, *kept)
        for key, item in value.items()
        if key in kept or not (key.startswith("_") or key in ("path", "artifact_path"))
    }


@contextmanager
def behaving() -> Iterator[Kept]:
    kept, lock = Kept(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(kept.delay)
            with lock:
                kept.requests.append((self.path, dict(self.headers), body))
                code, answer = 400, {"errors": [{"message": "no"}]}
                try:
                    code, answer = 200, kept.answer(self.path, body)
                except PermissionError:
                    pass
                except Exception as error:
                    kept.unknown.append(f"{self.command} {self.path} {error!r} {body[:200]!r}")
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *given: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that closing waits for the last answer
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
