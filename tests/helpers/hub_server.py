"""A small hub on loopback: the endpoints that `huggingface_hub` uses to create, commit to and read a repository."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_loopback"


@dataclass
class Repository:
    """A repository: its commits, oldest first, each a mapping of file name to content."""

    private: bool
    commits: list = field(default_factory=list)

    def find(self, revision):
        """Commit id and files of a branch or commit; ``None`` when there is none."""
        if revision == "main" and self.commits:
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)

    def commit(self, files):
        """Add a commit and return its id."""
        sha = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits.append((sha, files))
        return sha


class HubServer:
    """The server; ``with`` starts and stops it.

    ``requests`` lists what was asked for, ``messages`` those of the commits, ``repositories`` holds what was stored,
    and ``tamper(name, content)`` changes a file on its way in, as a faulty store would; addresses that end in ``fail``
    get an error 500.
    """

    def __init__(self):
        self.repositories, self.blobs, self.requests, self.messages = {}, {}, [], []
        self.tamper, self.fail = (lambda name, content: content), None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._http.shutdown()
        self._http.server_close()

    def files(self, repo_id):
        """The files of the newest commit."""
        return self.repositories[repo_id].commits[-1][1]


@contextlib.contextmanager
def as_the_hub(server, monkeypatch, folder):
    """Make this process, and those it starts, take a server for the real hub, with a cache of their own."""
    import huggingface_hub
    from huggingface_hub import file_download

    settings = {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    for name, value in {**settings, "HF_HOME": str(folder / "hf-home")}.items():
        monkeypatch.setenv(name, value)
    # Read from the environment when huggingface_hub was imported, long before.
    constants = huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf-home" / "hub"))
    huggingface_hub.utils.reset_sessions()
    try:
        yield
    finally:
        huggingface_hub.utils.reset_sessions()


def release_on_hub(server, repo_id, release, size="70m"):
    """Put a release folder into a public repository of the server, as one size; the commit's id."""
    files = {f"{size}-model/{path.name}": path.read_bytes() for path in release.iterdir()}
    repository = server.repositories.setdefault(repo_id, Repository(private=False))
    before = repository.commits[-1][1] if repository.commits else {}
    return repository.commit({**before, **files})


class _Handler(BaseHTTPRequestHandler):
    hub = None
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._output()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, *arguments):
        """Keep the test output clean."""

    def _output(self):
        path, _, self.query = self.path.partition("?")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {path}")
        writes = self.command in ("POST", "PUT") and not path.endswith("/validate-yaml")
        if writes and not path.startswith("/lfs/") and not self._signed_in():
            return self._send(401, {"error": "Invalid username or password."})
        if self.hub.fail and path.endswith(self.hub.fail):
            return self._send(500, {"error": "out of order"})
        for method, pattern, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method:
                return action(self, *match.groups())
        return self._send(404, {"error": f"no such address: {path}"})

    def _signed_in(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _send(self, status, content=b"", **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _repository(self, repo_id):
        """The repository, or ``None`` after a 404: a private one is hidden from strangers."""
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and not self._signed_in()):
            self._send(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        return repository

    def _revision(self, repo_id, revision):
        """Commit id and files, or ``None`` after a 404."""
        repository = self._repository(repo_id)
        found = repository and repository.find(revision)
        if repository and not found:
            self._send(404, {"error": f"Invalid rev id: {revision}"}, X_Error_Code="RevisionNotFound")
        return found

    def create(self):
        wanted = json.loads(self.body)
        repo_id = f"{wanted['organization']}/{wanted['name']}"
        output = {"url": f"{self.hub.url}/{repo_id}", "name": repo_id}
        if repo_id in self.hub.repositories:
            return self._send(409, {"error": "You already created this model repo", **output})
        repository = Repository(bool(wanted.get("private")))
        repository.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        self.hub.repositories[repo_id] = repository
        return self._send(200, output)

    def info(self, repo_id, revision=None):
        found = self._revision(repo_id, revision or "main")
        if found:
            sha, files = found
            private = self.hub.repositories[repo_id].private
            siblings = [{"rfilename": name} for name in files]
            output = {"id": repo_id, "sha": sha, "private": private, "siblings": siblings, "xetEnabled": False}
            self._send(200, output)

    def tree(self, repo_id, revision):
        found = self._revision(repo_id, revision)
        if found:
            files = found[1].items()
            self._send(200, [{"type": "file", "path": n, "oid": _sha1(c), "size": len(c)} for n, c in files])

    def validate(self):
        text = json.loads(self.body)["content"]
        if text.startswith("---\n"):
            return self._send(200, {"errors": [], "warnings": []})
        return self._send(400, {"errors": [{"message": "no metadata"}], "warnings": []})

    def preupload(self, repo_id, revision):
        if self._revision(repo_id, revision):
            names = [file["path"] for file in json.loads(self.body)["files"]]
            modes = {name: "lfs" if name.endswith(".safetensors") else "regular" for name in names}
            files = [{"path": name, "uploadMode": modes[name], "shouldIgnore": False} for name in names]
            self._send(200, {"files": files})

    def lfs_batch(self, repo_id):
        if self._repository(repo_id):
            objects = json.loads(self.body)["objects"]
            for item in objects:
                item["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
            self._send(200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")

    def lfs_put(self, oid):
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._send(400, {"error": "content and oid differ"})
        self.hub.blobs[oid] = self.body
        return self._send(200)

    def commit(self, repo_id, revision):
        found = self._revision(repo_id, revision)
        if not found:
            return
        files = dict(found[1])
        for line in self.body.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header" and value.get("parentCommit", found[0]) != found[0]:
                self._send(412, {"error": "A commit has happened since. Please refresh and try again."})
                return
            if operation["key"] == "header":
                self.hub.messages.append(f"{value['summary']}\n\n{value['description']}")
            elif operation["key"] == "deletedFile":
                files.pop(value["path"])
            elif operation["key"] == "file":
                files[value["path"]] = self.hub.tamper(value["path"], base64.b64decode(value["content"]))
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.tamper(value["path"], self.hub.blobs[value["oid"]])
        sha = self.hub.repositories[repo_id].commit(files)
        self._send(200, {"commitUrl": f"{self.hub.url}/{repo_id}/commit/{sha}", "commitOid": sha})

    def resolve(self, repo_id, revision, name):
        found = self._revision(repo_id, revision)
        if not found:
            return
        sha, files = found
        if name not in files:
            self._send(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
            return
        self._send(200, files[name], ETag=f'"{_sha1(files[name])}"', X_Repo_Commit=sha)


def _sha1(content):
    return hashlib.sha1(content).hexdigest()


_REPO = r"([\w.-]+/[\w.-]+)"
_ROUTES = [
    ({"POST"}, "/api/repos/create", _Handler.create),
    ({"POST"}, "/api/validate-yaml", _Handler.validate),
    ({"GET"}, f"/api/models/{_REPO}", _Handler.info),
    ({"GET"}, f"/api/models/{_REPO}/revision/([^/]+)", _Handler.info),
    ({"GET"}, f"/api/models/{_REPO}/tree/([^/]+)", _Handler.tree),
    ({"POST"}, f"/api/models/{_REPO}/preupload/([^/]+)", _Handler.preupload),
    ({"POST"}, f"/api/models/{_REPO}/commit/([^/]+)", _Handler.commit),
    ({"POST"}, f"/{_REPO}.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ({"PUT"}, r"/lfs/(\w+)", _Handler.lfs_put),
    ({"GET", "HEAD"}, f"/{_REPO}/resolve/([^/]+)/(.+)", _Handler.resolve),
]
