# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Lets huggingface_hub fetch a model and a dataset from a hub of our own, so that the cache is as it lays it out, and prints where it says they are.

    python hub_cache.py CACHE MODEL_FILES DATASET_FILES    # two folders of files to serve as org/tiny and org/set
"""

import hashlib
import http.server
import json
import os
import sys
import threading
from pathlib import Path

cache, served = Path(sys.argv[1]), {"models/org/tiny": Path(sys.argv[2]), "datasets/org/set": Path(sys.argv[3])}
COMMIT = "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a"


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, body, headers=(), code=200):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0].strip("/")
        for name, folder in served.items():
            files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            repository = name.removeprefix("models/")
            if path.startswith(f"api/{name}/tree/"):
                tree = [{"type": "file", "path": f, "size": (folder / f).stat().st_size, "oid": hashlib.sha1((folder / f).read_bytes()).hexdigest()} for f in files]
                return self.answer(json.dumps(tree).encode(), [("Content-Type", "application/json")])
            if path.startswith(f"api/{name}"):
                info = {"id": name.split("/", 1)[1], "sha": COMMIT, "siblings": [{"rfilename": f} for f in files], "private": False, "tags": [], "downloads": 0, "likes": 0}
                return self.answer(json.dumps(info).encode(), [("Content-Type", "application/json")])
            if path.startswith(f"{repository}/resolve/"):
                file = folder / path.split("/", 4)[4] if name.startswith("models/") else folder / path.split("/", 5)[5]
                body = file.read_bytes()
                etag = hashlib.sha256(body).hexdigest()
                return self.answer(body, [("ETag", f'"{etag}"'), ("X-Repo-Commit", COMMIT), ("Content-Type", "application/octet-stream")])
        self.answer(b"not here", code=404)

    do_HEAD = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name in ("HF_HUB_OFFLINE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
    os.environ.pop(name, None)
os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}", HF_HUB_CACHE=str(cache), HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1",
                  HF_HUB_DISABLE_TELEMETRY="1", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")

import huggingface_hub  # noqa: E402

model = huggingface_hub.snapshot_download("org/tiny")
dataset = huggingface_hub.snapshot_download("org/set", repo_type="dataset", revision="main")
print(json.dumps({"model": model, "dataset": dataset, "version": huggingface_hub.__version__}))
