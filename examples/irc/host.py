"""The program's side of docs/channels/exec.md, for any in Python 3.11 or newer. Copy it for your own."""

import asyncio
import json
import sys

LONGEST = 2 * 1024 * 1024  # bytes of a line from the host


class Failed(Exception):
    """A call was not done. `sort`: later, refused, doubt or absent; `after`: milliseconds before the next try."""

    def __init__(self, why, sort, after=None):
        super().__init__(why)
        self.sort, self.after = sort, after


class Fatal(Exception):
    """Nothing helps before a person does something: the channel stops, and says why."""


class Host:
    """The host's end of the pipes."""

    @classmethod
    async def meet(cls):
        """Waits for the first line, which is in `start`."""
        self, loop = cls(), asyncio.get_running_loop()
        self.lines = asyncio.StreamReader(limit=LONGEST)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self.lines), sys.stdin.buffer)
        pipe = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout.buffer)
        self.out = asyncio.StreamWriter(*pipe, None, loop)
        self.start = json.loads(await self.lines.readline())
        return self

    async def say(self, **line):
        """Writes a line, and waits while the host does not read."""
        self.out.write(json.dumps(line).encode() + b"\n")
        await self.out.drain()

    async def serve(self, calls, *tasks):
        """Does the host's calls by their type, beside some tasks, until it says stop, is gone, or one of them ends."""
        tasks = [asyncio.create_task(task) for task in (self.hear(calls), *tasks)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        try:
            for task in done:
                task.result()
        except Fatal as error:
            await self.say(type="state", state="stopped", why=str(error))
            sys.exit(1)

    async def hear(self, calls):
        running = set()
        while line := await self.lines.readline():
            line = json.loads(line)
            if line["type"] == "stop":
                break
            if do := calls.get(line["type"]):
                running.add(task := asyncio.create_task(self.answer(do, line)))
                task.add_done_callback(running.discard)

    async def answer(self, do, line):
        call = line["call"]
        try:
            await self.say(type="done", call=call, **(await do(line) or {}))
        except Failed as error:
            await self.say(type="failed", call=call, why=str(error), sort=error.sort, after_ms=error.after)
        except Exception as error:  # A bug here: nobody knows how far it came.
            await self.say(type="failed", call=call, why=repr(error), sort="doubt")
