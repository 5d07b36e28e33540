#!/usr/bin/env python3
"""IRC as a channel of Cofferdam: docs/channels/irc.md. Python 3.11 or newer, nothing else.

Cofferdam starts this program and speaks JSON lines with it (docs/channels/exec.md). One connection to one server; it
comes back by itself. A message counts as sent when the server has answered a PING that was written behind it.
"""

import asyncio
import difflib
import random
import re
import ssl
import sys
from pathlib import Path

from host import Failed, Fatal, Host
from ircline import ASCII, FOLDS, LINE, decoded, encoded, is_name, lines_of, parse, plain

EVERY, BURST = 0.7, 4  # what servers take from a client without slowing it down or closing its connection
SILENCE = 90  # seconds without a word of the server before it is asked, and again before it is given up
FIRST_PAUSE, LONGEST_PAUSE = 1, 120  # before a connection is tried again, doubled each time
STEADY = 60  # a connection that held as long as this makes the pauses short again
AGAIN = 30  # seconds before a channel that did not let us in, or a name that was taken, is tried again
REFUSED = {"401", "403", "404", "405", "407", "411", "412", "413", "442", "477", "531"}  # of a PRIVMSG
NOT_IN = {"403", "405", "437", "471", "473", "474", "475", "476", "477"}  # of a JOIN
TAKEN = {"432", "433", "436", "437"}  # of a NICK


SETTINGS = {"server", "port", "tls", "ca_file", "nick", "channels", "account"}
SECRETS = {"password", "nickserv"}
CONNECTS = 15  # seconds until a connection stands


def known(given, keys, what):
    """Ends with words for people when a key is none."""
    for key in set(given) - keys:
        near = "".join(f"; did you mean '{near}'?" for near in difflib.get_close_matches(key, keys, 1))
        sys.exit(f"there is no {what} '{key}'{near}")


class Trouble(Exception):
    """The connection is of no more use."""


class Irc:
    def __init__(self, host):
        settings, self.secrets = host.start["settings"], host.start["secrets"]
        known(settings, SETTINGS, "setting")
        known(self.secrets, SECRETS, "secret")
        if "server" not in settings:
            sys.exit("the setting 'server' is missing")
        self.say = host.say
        self.server = settings["server"]
        self.tls = settings.get("tls", True)
        self.port = settings.get("port", 6697 if self.tls else 6667)
        self.ca_file = settings.get("ca_file")
        self.wanted = self.nick = settings.get("nick", "cofferdam")
        self.account = settings.get("account", "")
        self.channels = settings.get("channels", [])  # "#name" or "#name key"
        self.boot = self.boots(Path(host.start["state_dir"]) / "boots")
        self.count = self.pings = 0
        self.writer, self.ready, self.why = None, asyncio.Event(), "not connected yet"
        self.pongs, self.target, self.refusal = {}, None, None
        self.folds, self.soon = ASCII, set()
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
            pong.done() or pong.set_exception(Failed("the connection broke", "doubt"))
        self.pongs.clear()
        self.soon.clear()

    async def connection(self):
        context = ssl.create_default_context(cafile=self.ca_file) if self.tls else None
        try:
            async with asyncio.timeout(CONNECTS):
                opening = asyncio.open_connection(self.server, self.port, ssl=context, limit=16 * 1024)
                reader, self.writer = await opening
        except TimeoutError:
            tls = "; is it a port with TLS? Else set 'tls' to false" if self.tls else ""
            raise Trouble(f"port {self.port} does not answer within {CONNECTS} s{tls}") from None
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
            await self.heard(*parse(decoded(line)))

    def write(self, command, last=None):
        if not self.writer:
            raise Failed("not connected", "absent")
        self.writer.write(encoded(command, last))

    def is_mine(self, nick):
        return self.fold(nick) == self.fold(self.nick)

    def fold(self, name):
        """A name as the server compares it."""
        return name.translate(self.folds)

    async def heard(self, tags, prefix, command, words):
        who = prefix.partition("!")[0]
        if command == "PING":
            self.write("PONG", words[-1] if words else "")
        elif command == "PONG" and words and (pong := self.pongs.pop(words[-1], None)) and not pong.done():
            pong.set_result(None)
        elif command == "CAP" and len(words) > 2:
            self.capabilities(words)
        elif command == "001":
            self.nick = words[0]
            await self.welcome()
        elif command == "005":
            mapping = next((word[12:] for word in words if word.startswith("CASEMAPPING=")), "")
            self.folds = FOLDS.get(mapping, self.folds)
        elif command in TAKEN and not self.ready.is_set() and len(words) > 1 and self.is_mine(words[1]):
            self.nick = self.wanted[:7] + str(random.randrange(10, 99))
            self.write(f"NICK {self.nick}")
        elif command in ("464", "ERROR"):
            self.error = words[-1] if words else ""
            if not self.ready.is_set() and "password" in self.error.lower():
                raise Fatal(f"{self.server} refuses the password: {self.error}")
        elif command == "NICK" and self.is_mine(who) and words:
            self.nick = words[0]
        elif command == "KICK" and len(words) > 1 and self.is_mine(words[1]):
            self.later(self.join, words[0])
        elif command in REFUSED | NOT_IN and len(words) > 2:
            await self.refused(command, words[1], words[-1])
        elif command == "PRIVMSG" and len(words) > 1 and "!" in prefix and not self.is_mine(who):
            await self.message(tags, prefix, who, words[0], words[1])
        # A NOTICE is never answered: that is how bots keep from talking to each other for ever.

    async def refused(self, command, name, why):
        if self.target and self.fold(name) == self.fold(self.target):
            self.refusal = why
        if command in NOT_IN and self.entry(name):
            await self.say(type="log", level="warn", text=f"not in {name}: {why}")
            self.later(self.join, name)

    def capabilities(self, words):
        verb, more = words[1].upper(), words[2] == "*"
        if verb == "LS" and "account-tag" in words[-1].split():
            self.write("CAP REQ", "account-tag")
        elif verb in ("ACK", "NAK") or (verb == "LS" and not more):
            self.write("CAP END")

    async def welcome(self):
        if "nickserv" in self.secrets:
            words = ["IDENTIFY", self.account, self.secrets["nickserv"]]
            self.write("PRIVMSG NickServ", " ".join(filter(None, words)))
        for channel in self.channels:
            self.join(channel.split()[0])
        self.rename()
        self.error = ""
        self.ready.set()
        await self.say(type="state", state="connected")

    def entry(self, name):
        """A channel of the settings, with its key."""
        return next((entry for entry in self.channels if self.fold(entry.split()[0]) == self.fold(name)), None)

    def join(self, name):
        if entry := self.entry(name):
            self.write(f"JOIN {entry}")

    def rename(self):
        if not self.is_mine(self.wanted):
            self.write(f"NICK {self.wanted}")
            self.later(self.rename)

    def later(self, do, *words):
        """Does something a little later, once, on this connection."""
        what, writer = (do.__name__, *words), self.writer

        def now():
            self.soon.discard(what)
            if self.writer is writer:
                do(*words)

        if what not in self.soon:
            self.soon.add(what)
            asyncio.get_running_loop().call_later(AGAIN, now)

    async def message(self, tags, prefix, who, target, text):
        text = plain(text)
        if not text:
            return
        direct = not target.startswith(("#", "&", "+", "!"))
        nick = re.escape(self.nick)
        named = re.search(rf"(?<![\w-]){nick}(?![\w-])", text, re.IGNORECASE)
        text = re.sub(rf"^{nick}[:,]\s*", "", text, flags=re.IGNORECASE)
        if not text:
            return
        self.count += 1
        await self.arrived.put({
            "type": "message", "id": f"{self.boot}-{self.count}", "chat": self.fold(who if direct else target),
            "kind": "direct" if direct else "group", "title": who if direct else target,
            "sender": {"id": tags.get("account") or prefix, "name": who},
            "text": text, "addressed": bool(named) or direct,
        })

    async def hand_in(self):
        """Beside the connection, so that the server is answered while the host does not read."""
        while True:
            await self.say(**await self.arrived.get())

    async def send(self, line):
        chat, texts = line["chat"], list(lines_of(line["text"]))
        if not is_name(chat):
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
        channels = ", ".join(entry.split()[0] for entry in self.channels) or "no channel"
        return {"text": f"{self.nick} on {self.server}, in {channels}"}


async def main():
    host = await Host.meet()
    irc = Irc(host)
    await host.say(
        type="hello", protocol=1, abilities={}, who=f"{irc.wanted} on {irc.server}", answer_ms=300_000,
        text={"markup": "plain", "limit": LINE, "measure": "bytes"},
        pace={"all_ms": int(EVERY * 1000), "all_burst": BURST, "at_once": 4},
    )
    await host.serve({"send": irc.send, "test": irc.test}, irc.run(), irc.hand_in())
    if irc.writer:
        irc.write("QUIT", "bye")
        await irc.writer.drain()


if __name__ == "__main__":
    asyncio.run(main())
