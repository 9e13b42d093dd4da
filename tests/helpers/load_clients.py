"""A process of clients that each send an array again and again: prints what they got as a line of JSON.

python load_clients.py PORT CLIENTS SECONDS HEIGHT WIDTH
"""

import asyncio
import io
import json
import sys
import time

import numpy as np


async def _client(port: int, request: bytes, end: float, seconds: list[float], statuses: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    while time.monotonic() < end:
        begun = time.monotonic()
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
        await reader.readexactly(length)
        statuses.append(int(head.split(b" ", 2)[1]))
        seconds.append(time.monotonic() - begun)
    writer.close()


async def _clients(port: int, clients: int, duration: float, shape: tuple[int, ...]) -> dict[str, object]:
    body = io.BytesIO()
    np.save(body, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\nContent-Length: %d\r\n\r\n"
    request = head % len(body.getvalue()) + body.getvalue()
    seconds: list[float] = []
    statuses: list[int] = []
    begun = time.monotonic()
    await asyncio.gather(*(_client(port, request, begun + duration, seconds, statuses) for _ in range(clients)))
    return {"seconds": seconds, "statuses": statuses, "duration": time.monotonic() - begun}


if __name__ == "__main__":
    port, clients, duration, height, width = (int(word) for word in sys.argv[1:])
    sys.stdout.write(json.dumps(asyncio.run(_clients(port, clients, duration, (1, height, width)))) + "\n")
