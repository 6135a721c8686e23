"""Opens connections that never finish their request, and holds as many as it gets. Runs on a host of the lab.

    slow_clients.py ADDRESS PORT CONNECTIONS SECONDS

Prints how many it held at the most.
"""

import asyncio
import resource
import sys

# Seconds between two bytes, and before a connection that was refused is tried again.
PAUSE = 1.0


class Flood:
    """The clients of one address."""

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address, port
        self.held = self.most = 0

    async def client(self, ends: float) -> None:
        now = asyncio.get_running_loop().time
        while now() < ends:
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection(self.address, self.port), 5)
            except (OSError, TimeoutError):
                await asyncio.sleep(PAUSE)
                continue
            self.held += 1
            try:
                await self._dawdle(reader, writer, ends)
            except OSError:
                pass
            finally:
                self.held -= 1
                writer.close()
            await asyncio.sleep(PAUSE)

    async def _dawdle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: float) -> None:
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while asyncio.get_running_loop().time() < ends:
            try:
                await asyncio.wait_for(reader.read(4096), PAUSE)
                return  # answered, or closed
            except TimeoutError:
                # Only who has lived through a pause was let in.
                self.most = max(self.most, self.held)
                writer.write(b"y")
                await writer.drain()

    async def run(self, connections: int, seconds: float) -> None:
        ends = asyncio.get_running_loop().time() + seconds
        clients = []
        for number in range(connections):
            clients.append(asyncio.create_task(self.client(ends)))
            if number % 200 == 0:
                await asyncio.sleep(0.05)
        await asyncio.gather(*clients)


def main() -> None:
    address, port, connections, seconds = sys.argv[1:]
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    flood = Flood(address, int(port))
    asyncio.run(flood.run(int(connections), float(seconds)))
    print(flood.most)


main()
