#!/usr/bin/env python3
"""IRC as a channel of Cofferdam: docs/channels/irc.md. Python 3.11 or newer, nothing else.

Cofferdam starts this program and speaks JSON lines with it (docs/channels/exec.md). One connection to one server; it
comes back by itself. A message counts as sent when the server has answered a PING that was written behind it.
"""

import asyncio
import json
import random
import re
import ssl
import sys
from pathlib import Path

LINE = 400  # bytes of text in a message; the protocol has 512 for all of it, with names that we do not know
EVERY, BURST = 0.7, 4  # what servers take from a client without slowing it down or closing its connection
SILENCE = 90  # seconds without a word of the server before it is asked, and again before it is given up
FIRST_PAUSE, LONGEST_PAUSE = 1, 120  # before a connection is tried again, doubled each time
STEADY = 60  # a connection that held as long as this makes the pauses short again
AGAIN = 30  # seconds before a channel that did not let us in, or a name that was taken, is tried again
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # ends of lines, colours, CTCP
FORMAT = re.compile(r"\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9a-fA-F]{6})?|[\x00-\x1f\x7f]")
REFUSED = {"401", "403", "404", "405", "407", "411", "412", "413", "442", "477", "531"}  # of a PRIVMSG
NOT_IN = {"403", "405", "437", "471", "473", "474", "475", "476", "477"}  # of a JOIN
TAKEN = {"432", "433", "436", "437"}  # of a NICK


class Trouble(Exception):
    """The connection is of no more use."""


class Fatal(Exception):
    """Nothing helps before a person does something."""


class Failed(Exception):
    """A message was not sent; `sort` as the protocol has it."""

    def __init__(self, why, sort, after=None):
        super().__init__(why)
        self.sort, self.after = sort, after


def fold(name):
    """A name as the server compares it."""
    return name.lower().translate(str.maketrans("[]\\~", "{}|^"))


def parse(line):
    """A line of the server: tags, who, what, with what."""
    tags, prefix = {}, ""
    if line.startswith("@"):
        head, _, line = line[1:].partition(" ")
        tags = dict(tag.partition("=")[::2] for tag in head.split(";"))
    line = line.lstrip(" ")
    if line.startswith(":"):
        prefix, _, line = line[1:].partition(" ")
    line, colon, last = line.partition(" :")
    words = line.split() + ([last] if colon else [])
    return tags, prefix, words[0].upper() if words else "", words[1:]


def lines_of(text):
    """A text in lines that fit, without anything that the server or a client would obey."""
    for line in text.expandtabs(4).splitlines():
        line = CONTROL.sub("", line).rstrip()
        while line:
            part = line.encode()[:LINE].decode(errors="ignore")
            yield part
            line = line[len(part):]


class Irc:
    def __init__(self, say, start):
        settings, self.secrets = start["settings"], start["secrets"]
        self.say = say
        self.server = settings["server"]
        self.tls = settings.get("tls", True)
        self.port = settings.get("port", 6697 if self.tls else 6667)
        self.ca_file = settings.get("ca_file")
        self.wanted = self.nick = settings.get("nick", "cofferdam")
        self.account = settings.get("account", "")
        self.channels = settings.get("channels", [])  # "#name" or "#name key"
        self.boot = self.boots(Path(start["state_dir"]) / "boots")
        self.count = self.pings = 0
        self.writer, self.ready, self.why = None, asyncio.Event(), "not connected yet"
        self.pongs, self.target, self.refusal = {}, None, None
        self.sending, self.free_at = asyncio.Lock(), 0.0
        self.arrived, self.error = asyncio.Queue(1000), ""

    @staticmethod
    def boots(path):
        """Counts the starts: IRC has no ids, so a message's is made of this and a counter, and never comes again."""
        boots = int(path.read_text()) + 1 if path.exists() else 1
        new = path.with_suffix(".new")
        new.write_text(str(boots))
        new.replace(path)
        return boots

    # The connection

    async def run(self):
        pause, clock = FIRST_PAUSE, asyncio.get_running_loop().time
        while True:
            began = clock()
            await self.say(type="state", state="connecting")
            try:
                await self.connection()
            except (OSError, Trouble, ValueError) as error:
                self.why = f"{self.server}: {error or type(error).__name__}"
            finally:
                self.over()
            if clock() - began >= STEADY:
                pause = FIRST_PAUSE
            wait = pause * random.uniform(0.5, 1)
            pause = min(pause * 2, LONGEST_PAUSE)
            await self.say(type="state", state="waiting", why=self.why, again_ms=int(wait * 1000))
            await asyncio.sleep(wait)

    def over(self):
        self.ready.clear()
        if self.writer:
            self.writer.close()
        self.writer = None
        for pong in self.pongs.values():
            if not pong.done():
                pong.set_exception(Failed("the connection broke", "doubt"))
        self.pongs.clear()

    async def connection(self):
        context = ssl.create_default_context(cafile=self.ca_file) if self.tls else None
        async with asyncio.timeout(30):
            reader, self.writer = await asyncio.open_connection(self.server, self.port, ssl=context, limit=16 * 1024)
        self.nick = self.wanted
        if "password" in self.secrets:
            self.write("PASS", self.secrets["password"])
        self.write("CAP LS 302")
        self.write(f"NICK {self.nick}")
        self.write(f"USER {self.nick[:9]} 0 *", "Cofferdam")
        asked = False
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    line = await reader.readline()
            except TimeoutError:
                if asked:
                    raise Trouble("it says nothing any more") from None
                asked = True
                self.write("PING", "still-there")
                continue
            if not line:
                raise Trouble("it closed the connection" + (f": {self.error}" if self.error else ""))
            asked = False
            try:
                text = line.decode()
            except UnicodeDecodeError:
                text = line.decode("latin-1")
            await self.heard(*parse(text.rstrip("\r\n")))

    def write(self, command, last=None):
        """Writes one line, whatever is in its words."""
        if not self.writer:
            raise Failed("not connected", "absent")
        line = command if last is None else f"{command} :{last}"
        self.writer.write(CONTROL.sub("", line).encode()[:510] + b"\r\n")

    # What the server says

    async def heard(self, tags, prefix, command, words):
        who = prefix.partition("!")[0]
        mine = fold(who) == fold(self.nick)
        if command == "PING":
            self.write("PONG", words[-1] if words else "")
        elif command == "PONG" and words and words[-1] in self.pongs:
            self.pongs.pop(words[-1]).set_result(None)
        elif command == "CAP" and len(words) > 2:
            self.capabilities(words)
        elif command == "001":
            self.nick = words[0]
            await self.welcome()
        elif command in TAKEN and not self.ready.is_set() and len(words) > 1 and fold(words[1]) == fold(self.nick):
            self.nick = self.wanted[:7] + str(random.randrange(10, 99))
            self.write(f"NICK {self.nick}")
        elif command == "464":
            raise Fatal("the server refuses the password")
        elif command == "ERROR":
            self.error = words[-1] if words else ""
        elif command == "NICK" and mine and words:
            self.nick = words[0]
        elif command == "KICK" and len(words) > 1 and fold(words[1]) == fold(self.nick):
            self.later(self.join, words[0])
        elif command in REFUSED | NOT_IN and len(words) > 2:
            if self.target and fold(words[1]) == fold(self.target):
                self.refusal = words[-1]
            elif command in NOT_IN:
                await self.say(type="log", level="warn", text=f"not in {words[1]}: {words[-1]}")
                self.later(self.join, words[1])
        elif command == "PRIVMSG" and len(words) > 1 and "!" in prefix and not mine:
            await self.message(tags, prefix, who, words[0], words[1])
        # A NOTICE is never answered: that is how bots keep from talking to each other for ever.

    def capabilities(self, words):
        verb, more = words[1].upper(), words[2] == "*"
        if verb == "LS" and "account-tag" in words[-1].split():
            self.write("CAP REQ", "account-tag")
        elif verb in ("ACK", "NAK") or (verb == "LS" and not more):
            self.write("CAP END")

    async def welcome(self):
        if "nickserv" in self.secrets:
            self.write("PRIVMSG NickServ", f"IDENTIFY {self.account} {self.secrets['nickserv']}".replace("  ", " "))
        for channel in self.channels:
            self.join(channel)
        if fold(self.nick) != fold(self.wanted):
            self.later(self.rename)
        self.error = ""
        self.ready.set()
        await self.say(type="state", state="connected")

    def join(self, channel):
        name = channel.split()[0]
        self.write("JOIN " + next((key for key in self.channels if fold(key.split()[0]) == fold(name)), name))

    def rename(self):
        if fold(self.nick) != fold(self.wanted):
            self.write(f"NICK {self.wanted}")
            self.later(self.rename)

    def later(self, do, *words):
        """Does something a little later, on this connection."""
        writer = self.writer
        asyncio.get_running_loop().call_later(AGAIN, lambda: self.writer is writer and writer and do(*words))

    async def message(self, tags, prefix, who, target, text):
        if text.startswith("\x01ACTION "):
            text = f"* {who} {text[8:]}"
        elif text.startswith("\x01"):
            return
        text = FORMAT.sub("", text).strip()
        direct = not target.startswith(("#", "&", "+", "!"))
        nick = re.escape(self.nick)
        addressed = re.search(rf"(?<![\w-]){nick}(?![\w-])", text, re.IGNORECASE) is not None
        text = re.sub(rf"^{nick}[:,]\s*", "", text, flags=re.IGNORECASE)
        if not text:
            return
        self.count += 1
        await self.arrived.put({
            "type": "message", "id": f"{self.boot}-{self.count}", "chat": fold(who if direct else target),
            "thread": None, "kind": "direct" if direct else "group", "title": who if direct else target,
            "sender": {"id": tags.get("account") or prefix, "name": who},
            "text": text, "addressed": addressed or direct, "files": [], "cursor": None,
        })

    async def hand_in(self):
        """Beside the connection, so that the server is answered while the host does not read."""
        while True:
            await self.say(**await self.arrived.get())

    # What the host says

    async def send(self, line):
        chat, texts = line["chat"], list(lines_of(line["text"]))
        if not chat or chat.startswith(":") or re.search(r"[\s,\x00-\x1f\x7f]", chat):
            raise Failed(f"{chat!r} is no name on IRC", "refused")
        async with self.sending:
            self.target, self.refusal, writer, written = chat, None, self.writer, False
            try:
                for text in texts:
                    await self.turn()
                    if self.writer is not writer or not self.ready.is_set():
                        raise Failed("the connection broke", "doubt")
                    self.write(f"PRIVMSG {chat}", text)
                    written = True
                await self.all_there()
            except Failed as error:
                raise error if written else Failed("not connected", "absent") from None
            except TimeoutError:
                raise Failed("the server does not answer", "doubt") from None
            finally:
                self.target = None
            if self.refusal:
                raise Failed(f"{chat}: {self.refusal}", "later", 60_000)

    async def turn(self):
        """Waits until one more line may go."""
        now = asyncio.get_running_loop().time()
        self.free_at = max(self.free_at, now - EVERY * (BURST - 1)) + EVERY
        if self.free_at - EVERY > now:
            await asyncio.sleep(self.free_at - EVERY - now)

    async def all_there(self):
        """Waits until the server has taken all that was written."""
        if not self.ready.is_set():
            raise Failed("not connected", "absent")
        self.pings += 1
        token = f"c{self.boot}-{self.pings}"
        pong = self.pongs[token] = asyncio.get_running_loop().create_future()
        self.write("PING", token)
        async with asyncio.timeout(60):
            await pong

    async def test(self, _line):
        try:
            async with asyncio.timeout(20):
                await self.ready.wait()
                await self.all_there()
        except TimeoutError:
            raise Failed(self.why, "later") from None
        return f"{self.nick} on {self.server}, in {', '.join(c.split()[0] for c in self.channels) or 'no channel'}"

    async def answer(self, do, line):
        try:
            await self.say(type="done", call=line["call"], id=None, text=await do(line))
        except Failed as error:
            await self.say(
                type="failed", call=line["call"], why=str(error), sort=error.sort, after_ms=error.after)


async def serve(irc, lines):
    """Does what the host says, until it says stop or is gone."""
    calls, what = set(), {"send": irc.send, "test": irc.test}
    while line := await lines.readline():
        line = json.loads(line)
        if line["type"] == "stop":
            break
        if do := what.get(line["type"]):
            calls.add(task := asyncio.create_task(irc.answer(do, line)))
            task.add_done_callback(calls.discard)
    if irc.writer:
        irc.write("QUIT", "bye")
        await irc.writer.drain()


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=2 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer)
    pipe = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout.buffer)
    out = asyncio.StreamWriter(*pipe, None, loop)

    async def say(**line):
        out.write(json.dumps(line).encode() + b"\n")
        await out.drain()

    irc = Irc(say, json.loads(await lines.readline()))
    await say(
        type="hello", protocol=1, abilities={}, who=f"{irc.wanted} on {irc.server}", answer_ms=300_000,
        text={"markup": "plain", "limit": LINE, "measure": "bytes"},
        pace={"all_ms": int(EVERY * 1000), "all_burst": BURST, "at_once": 4},
    )
    tasks = [asyncio.create_task(do) for do in (serve(irc, lines), irc.run(), irc.hand_in())]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    try:
        for task in done:
            task.result()
    except Fatal as error:
        await say(type="state", state="stopped", why=str(error))
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
