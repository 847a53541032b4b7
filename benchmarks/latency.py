"""A forwarder that delays the responses of a service, like the way to a bucket in another building.

    python -m benchmarks.latency HOST PORT MILLISECONDS

Prints its own port, and runs until it is killed. The first bytes after each request are delayed, the following are not,
so that only the latency changes and not the bandwidth.
"""

import asyncio
import contextlib
import functools
import sys

_PIECE = 256 << 10


async def _forward(
    host: str, port: int, delay: float, client: asyncio.StreamReader, back: asyncio.StreamWriter
) -> None:
    service, sink = await asyncio.open_connection(host, port, limit=_PIECE)
    is_waiting = False

    async def requests() -> None:
        nonlocal is_waiting
        while data := await client.read(_PIECE):
            is_waiting = True
            sink.write(data)
            await sink.drain()
        sink.write_eof()

    async def responses() -> None:
        nonlocal is_waiting
        while data := await service.read(_PIECE):
            if is_waiting:
                is_waiting = False
                await asyncio.sleep(delay)
            back.write(data)
            await back.drain()

    sending = asyncio.create_task(requests())
    with contextlib.suppress(OSError):
        await responses()
    sending.cancel()
    for writer in (sink, back):
        writer.close()


async def _serve(host: str, port: int, milliseconds: float) -> None:
    accept = functools.partial(_forward, host, port, milliseconds / 1000)
    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_PIECE)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
