"""A streaming upstream that keeps up: raw sockets, epoll, and one clock tick for many streams.

Run as a process (``python -m bench.stream_upstream --port P``). Every ``POST`` gets a stream in the
format ``--format``:
``--tokens`` chunks at ``--rate`` per second. The text of a chunk is ``#``, the monotonic clock in
nanoseconds (16 digits), and ``~``, so that the load generator on the same machine can tell how long
the chunk was on its way, through whatever stood between.
"""

import argparse
import gc
import select
import signal
import socket
import time

TICK = 0.001
"""Seconds between two ticks: streams are spread over ``1 / (rate * TICK)`` slots."""

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
BASE = (
    b'"id":"chatcmpl-bench","object":"chat.completion.chunk",'
    b'"created":1790000000,"model":"bench-1",'
)


def frame(event: bytes) -> bytes:
    """One SSE event as one HTTP chunk."""
    data = b"data: " + event + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def typed(event: bytes) -> bytes:
    """One event of the Messages format, whose name is that of its first member."""
    data = b"event: " + event.split(b'"', 4)[3] + b"\ndata: " + event + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


CHAT_TOKEN = frame(
    b"{" + BASE + b'"choices":[{"index":0,"delta":{"content":"#MARK~"},"finish_reason":null}]}'
)
MESSAGES_OPENING = typed(
    b'{"type":"message_start","message":{"id":"msg_bench","type":"message","role":"assistant",'
    b'"model":"bench-1","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":40,"output_tokens":1}}}'
) + typed(b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}')
MESSAGES_TOKEN = typed(
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"#MARK~"}}'
)


def messages_ending(tokens: int, usage: bool) -> bytes:
    """What follows the last token in the Messages format."""
    return (
        typed(b'{"type":"content_block_stop","index":0}')
        + typed(
            b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
            b'"usage":{"output_tokens":%d}}' % tokens
        )
        + typed(b'{"type":"message_stop"}')
        + b"0\r\n\r\n"
    )


def ending(tokens: int, usage: bool) -> bytes:
    """What follows the last token in the chat format."""
    out = frame(b"{" + BASE + b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    if usage:
        counts = b'{"prompt_tokens":40,"completion_tokens":%d,"total_tokens":%d}' % (
            tokens,
            40 + tokens,
        )
        out += frame(b"{" + BASE + b'"choices":[],"usage":' + counts + b"}")
    return out + frame(b"[DONE]") + b"0\r\n\r\n"


FORMATS = {
    "openai_chat": (b"", CHAT_TOKEN, ending),
    "anthropic_messages": (MESSAGES_OPENING, MESSAGES_TOKEN, messages_ending),
}
"""What comes before the first token, a token, and what follows the last."""


def token_parts(name: str) -> tuple[bytes, bytes]:
    """A token's bytes before and after its 16 digits, in the format ``name``."""
    token = FORMATS[name][1]
    size, _, rest = token.partition(b"\r\n")
    grown = b"%x\r\n" % (int(size, 16) + 16 - len(b"MARK")) + rest
    before, _, after = grown.partition(b"MARK")
    return before, after


class Stream:
    """One client connection and what it still has to be sent."""

    __slots__ = ("fd", "left", "out", "received", "sock", "usage")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.received = b""
        self.out = b""
        self.left = 0
        self.usage = False


class Upstream:
    """The server: ``run`` serves until the process is told to stop."""

    def __init__(self, listener: socket.socket, rate: float, tokens: int, name: str) -> None:
        self.listener = listener
        self.tokens = tokens
        self.before, self.after = token_parts(name)
        opening, _, self.ending = FORMATS[name]
        self.head = HEAD + opening
        self.slots: list[list[Stream]] = [[] for _ in range(max(1, round(1 / rate / TICK)))]
        self.at = 0
        self.streams: dict[int, Stream] = {}
        self.epoll = select.epoll()
        self.epoll.register(listener.fileno(), select.EPOLLIN)

    def run(self) -> None:
        listener = self.listener.fileno()
        due = time.monotonic()
        while True:
            now = time.monotonic()
            while due <= now:
                self.tick()
                due += TICK
                now = time.monotonic()
            for fd, mask in self.epoll.poll(due - now, 512):
                if fd == listener:
                    self.accept()
                    continue
                stream = self.streams.get(fd)
                if stream is None:
                    continue
                if mask & select.EPOLLOUT:
                    self.send(stream, b"")
                if mask & ~select.EPOLLOUT:
                    self.read(stream)

    def tick(self) -> None:
        """Send a token to every stream whose turn it is."""
        self.at = (self.at + 1) % len(self.slots)
        slot, send, text = self.slots[self.at], self.send, b""
        if not slot:
            return
        keep = []
        for n, stream in enumerate(slot):
            if not n % 8:  # the stamp is at most a few sends old
                text = b"%s%016d%s" % (self.before, time.monotonic_ns(), self.after)
            if stream.left <= 0:
                continue
            stream.left -= 1
            if stream.left:
                keep.append(stream)
                send(stream, text)
            else:
                send(stream, text + self.ending(self.tokens, stream.usage))
        self.slots[self.at] = keep

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = Stream(sock)
            self.streams[stream.fd] = stream
            self.epoll.register(stream.fd, select.EPOLLIN)

    def read(self, stream: Stream) -> None:
        try:
            data = stream.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close(stream)
            return
        stream.received += data
        head, sep, rest = stream.received.partition(b"\r\n\r\n")
        if not sep:
            return
        at = head.lower().find(b"content-length:")
        size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < size:
            return
        stream.received = rest[size:]
        compact = rest[:size].replace(b" ", b"")
        stream.usage = b'"include_usage":true' in compact
        stream.left = self.tokens - 1
        text = b"%s%016d%s" % (self.before, time.monotonic_ns(), self.after)
        if stream.left:
            self.slots[self.at].append(stream)
            self.send(stream, self.head + text)
        else:
            self.send(stream, self.head + text + self.ending(self.tokens, stream.usage))

    def send(self, stream: Stream, data: bytes) -> None:
        if stream.out:
            data = stream.out + data
        try:
            sent = stream.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close(stream)
            return
        blocked = bool(stream.out)
        stream.out = data[sent:] if sent < len(data) else b""
        if bool(stream.out) != blocked:
            extra = select.EPOLLOUT if stream.out else 0
            self.epoll.modify(stream.fd, select.EPOLLIN | extra)

    def close(self, stream: Stream) -> None:
        if self.streams.pop(stream.fd, None) is not None:
            stream.left = 0
            stream.sock.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=50, help="tokens per second and stream")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--format", choices=FORMATS, default="openai_chat")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", args.port), backlog=8192)
    listener.setblocking(False)
    gc.disable()  # nothing here makes cycles, and a pause would look like the gateway's
    Upstream(listener, args.rate, args.tokens, args.format).run()


if __name__ == "__main__":
    main()
