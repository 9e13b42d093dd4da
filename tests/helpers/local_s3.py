"""An S3 on this machine that checks keys: moto, in an environment of its own (`make .moto/bin/moto_server`)."""

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import obstore
import requests
from obstore.store import S3Store

_SERVER = Path(__file__).parents[2] / ".moto" / "bin" / "moto_server"
_POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


def can_run_s3() -> bool:
    return _SERVER.is_file()


@dataclass
class LocalS3:
    """Its address, the environment that reaches it, and its process."""

    endpoint: str
    process: subprocess.Popen
    environment: Mapping[str, str] = field(default_factory=dict)

    def put(self, bucket: str, files: Mapping[str, bytes]) -> None:
        """Upload files, in a bucket that is created if need be."""
        keys = {"aws_access_key_id": self.environment["AWS_ACCESS_KEY_ID"]}
        keys |= {"aws_secret_access_key": self.environment["AWS_SECRET_ACCESS_KEY"]}
        options = {"endpoint": self.endpoint, "region": "us-east-1", "client_options": {"allow_http": True}}
        store = S3Store(bucket, **keys, **options)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: obstore.put(store, item[0], item[1]), files.items()))


@contextlib.contextmanager
def running_s3(*buckets: str) -> Iterator[LocalS3]:
    """A server with empty buckets, which from then on accepts only the key of `environment`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([_SERVER, "-H", "127.0.0.1", "-p", str(port)], **silent)
    server = LocalS3(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{server.endpoint}/moto-api/", timeout=10)
                break
            assert time.monotonic() < deadline
            time.sleep(0.2)
        for bucket in buckets:
            requests.put(f"{server.endpoint}/{bucket}", timeout=10).raise_for_status()
        _iam(server.endpoint, Action="CreateUser", UserName="reader")
        _iam(server.endpoint, Action="PutUserPolicy", UserName="reader", PolicyName="s3", PolicyDocument=_POLICY)
        made = _iam(server.endpoint, Action="CreateAccessKey", UserName="reader")
        key, secret = (re.search(f"<{tag}>(.+?)</{tag}>", made)[1] for tag in ("AccessKeyId", "SecretAccessKey"))
        requests.post(f"{server.endpoint}/moto-api/reset-auth", data="0", timeout=10).raise_for_status()
        server.environment = {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        yield server
    finally:
        process.kill()
        process.wait()


def _iam(endpoint: str, **parameters: str) -> str:
    scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x"
    reply = requests.post(endpoint, data=parameters, headers={"Authorization": scope}, timeout=10)
    reply.raise_for_status()
    return reply.text
