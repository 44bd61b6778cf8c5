"""Raw requests that servers and proxies have disagreed on, and what is to come of each.

A case is one stream of bytes, and the verdict: how many of its requests are served, and the code of
the refusal after them (empty: none). Whatever follows in the stream is an attack: it must not be
served. ``EVIL`` marks it.
"""

EVIL = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
BAD = "malformed_http"
CODING = "unsupported_transfer_encoding"
P = b"POST / HTTP/1.1\r\nHost: x\r\n"
G = b"GET / HTTP/1.1\r\nHost: x\r\n"
TE = P + b"Transfer-Encoding: chunked\r\n\r\n"
NUL = b"\x00"

CASES: dict[str, tuple[bytes, int, str]] = {
    # lengths that disagree, or are none
    "length and chunked": (
        P + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", 0, BAD),
    "chunked and length": (
        P + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX", 0, BAD),
    "two lengths": (P + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 0, BAD),
    "two equal lengths": (P + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, BAD),
    "two lengths in different case": (
        P + b"Content-Length: 5\r\ncontent-length: 0\r\n\r\nhello", 0, BAD),
    "list of lengths": (P + b"Content-Length: 5, 5\r\n\r\nhello", 0, BAD),
    "length with plus": (P + b"Content-Length: +5\r\n\r\nhello", 0, BAD),
    "length with minus": (P + b"Content-Length: -5\r\n\r\nhello", 0, BAD),
    "length in hex": (P + b"Content-Length: 0x5\r\n\r\nhello", 0, BAD),
    "length with underscore": (P + b"Content-Length: 1_0\r\n\r\nhellohello", 0, BAD),
    "length with a space inside": (P + b"Content-Length: 1 0\r\n\r\nhellohello", 0, BAD),
    "length with fraction": (P + b"Content-Length: 5.0\r\n\r\nhello", 0, BAD),
    "empty length": (P + b"Content-Length: \r\n\r\nhello", 0, BAD),
    "length beyond 64 bits": (P + b"Content-Length: 18446744073709551621\r\n\r\nhello", 0, BAD),
    "length with a thousand zeros": (
        P + b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\nhello", 0, BAD),
    "length in Arabic digits": (P + b"Content-Length: \xd9\xa5\r\n\r\nhello", 0, BAD),
    "length with vertical tab": (P + b"Content-Length: \x0b5\r\n\r\nhello", 0, BAD),
    "space before the colon": (P + b"Content-Length : 5\r\n\r\nhello", 0, BAD),
    "tab before the colon": (P + b"Content-Length\t: 5\r\n\r\nhello", 0, BAD),
    "space before the name": (P + b" Content-Length: 5\r\n\r\nhello", 0, BAD),
    "zero byte in the name": (P + b"Content-Length\x00: 5\r\n\r\nhello", 0, BAD),
    # transfer codings
    "unknown coding": (P + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 0, CODING),
    "identity": (P + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", 0, CODING),
    "chunked twice": (
        P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, BAD),
    "chunked, then identity": (
        P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 0, BAD),
    "chunked not last": (P + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 0, BAD),
    "gzip and chunked": (
        P + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0,
        CODING),
    "empty element in the list": (
        P + b"Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n", 0, CODING),
    "chunked in a list with itself": (
        P + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 0, BAD),
    "chunked in quotes": (P + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 0, CODING),
    "vertical tab before chunked": (P + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 0, BAD),
    "zero byte behind chunked": (P + b"Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n", 0, BAD),
    "empty coding": (P + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 0, BAD),
    "space before the colon of a coding": (
        P + b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 0, BAD),
    "folded coding": (P + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 0, BAD),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n", 0, BAD),
    # chunks
    "chunk size that is none": (TE + b"zz\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "chunk size with 0x": (TE + b"0x5\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "chunk size with minus": (TE + b"-5\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "chunk size with plus": (TE + b"+5\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "chunk size with underscore": (TE + b"0_5\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "empty chunk size": (TE + b"\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "chunk size beyond 64 bits": (TE + b"10000000000000005\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "space before the chunk size": (TE + b" 5\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "space behind the chunk size": (TE + b"5 \r\nhello\r\n0\r\n\r\n", 0, BAD),
    "chunk size ends in LF": (TE + b"5\nhello\r\n0\r\n\r\n", 0, BAD),
    "chunk ends in LF": (TE + b"5\r\nhello\n0\r\n\r\n", 0, BAD),
    "chunk longer than it says": (TE + b"5\r\nhello!\r\n0\r\n\r\n", 0, BAD),
    "chunk shorter than it says": (TE + b"5\r\nhell\r\n0\r\n\r\n", 0, BAD),
    "LF in an extension": (TE + b"5;a\nb\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "CR in an extension": (TE + b"5;a\rb\r\nhello\r\n0\r\n\r\n", 0, BAD),
    "length among the trailers": (TE + b"0\r\nContent-Length: 30\r\n\r\n", 0, BAD),
    "coding among the trailers": (TE + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, BAD),
    "trailers end in LF": (TE + b"0\r\n\n", 0, BAD),
    "two last chunks": (TE + b"0\r\n\r\n0\r\n\r\n", 1, BAD),
    # lines
    "LF behind the request line": (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 0, BAD),
    "LF behind a field": (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 0, BAD),
    "LF at the end": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 0, BAD),
    "CR behind a field": (b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 0, BAD),
    "CR inside a value": (G + b"X: a\rb\r\n\r\n", 0, BAD),
    "folded field": (G + b"X: a\r\n b\r\n\r\n", 0, BAD),
    "field folded with a tab": (G + b"X: a\r\n\tContent-Length: 5\r\n\r\nhello", 0, BAD),
    "zero byte in a value": (G + b"X: a\x00b\r\n\r\n", 0, BAD),
    "control byte in a value": (G + b"X: a\x01b\r\n\r\n", 0, BAD),
    "delete in a value": (G + b"X: a\x7f\r\n\r\n", 0, BAD),
    "no colon": (G + b"X\r\n\r\n", 0, BAD),
    "no name": (G + b": y\r\n\r\n", 0, BAD),
    "space in a name": (G + b"X Y: z\r\n\r\n", 0, BAD),
    "byte above 127 in a name": (G + b"X\xff: y\r\n\r\n", 0, BAD),
    "field before the request line": (b"Host: x\r\nGET / HTTP/1.1\r\n\r\n", 0, BAD),
    # request lines
    "method in lower case": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "unknown method": (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "no method": (b" / HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "no target": (b"GET HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "tab for a space": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "zero byte in the target": (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "byte above 127 in the target": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "relative target": (b"GET foo HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "authority for a target": (b"GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "version in lower case": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 0, BAD),
    "version with zeros": (b"GET / HTTP/01.1\r\nHost: x\r\n\r\n", 0, BAD),
    "version of two digits": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 0, BAD),
    "version 1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", 0, BAD),
    "version 3.0": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 0, BAD),
    "version 2.0": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 0, "http_version_not_supported"),
    "version 0.9": (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 0, "http_version_not_supported"),
    "preface of HTTP/2": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, "http_version_not_supported"),
    "start of TLS": (bytes.fromhex("16030100f8010000f40303") + b"x" * 32, 0, "tls_on_plain_port"),
    "a tunnel": (
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 0, "not_a_proxy"),
    "a tunnel with a body": (
        b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n", 0, "not_a_proxy"),
    # hosts
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 0, "bad_host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 0, "bad_host"),
    "two equal hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 0, "bad_host"),
    "two names in one host": (b"GET / HTTP/1.1\r\nHost: x, y\r\n\r\n", 0, "bad_host"),
    "a path in the host": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 0, "bad_host"),
    # offers to upgrade: no reason to look away
    "offer with an unknown coding": (
        P + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: x, chunked\r\n\r\n"
        b"0\r\n\r\n", 0, CODING),
    "offer with a coding that is no last": (
        P + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked, x\r\n\r\n"
        b"0\r\n\r\n", 0, BAD),
    "offer with length and coding": (
        P + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 5\r\n\r\n0\r\n\r\n", 0, BAD),
    # names that only look like framing: the body is another request, and none
    "length with an underscore": (P + b"Content_Length: 5\r\n\r\nhello", 1, BAD),
    "coding with an underscore": (P + b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", 1, BAD),
    "length and chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0,
        BAD),
    # not ambiguous: served, and so is nothing that is not there
    "second is bad": (P + b"Content-Length: 5\r\n\r\nhello" + G + b"X\x00: y\r\n\r\n", 1, BAD),
    "bad behind a close": (G + b"Connection: close\r\n\r\n", 1, ""),
    "bad behind HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", 1, ""),
    "offer to upgrade hides a body": (
        P + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 31\r\n\r\n" + EVIL, 1,
        ""),
}  # fmt: skip

GOOD: dict[str, bytes] = {
    "sized": P + b"Content-Length: 5\r\n\r\nhello",
    "sized, spelled otherwise": P + b"CONTENT-length:\t005 \r\n\r\nhello",
    "empty": P + b"Content-Length: 0\r\n\r\n",
    "no body": G + b"\r\n",
    "three": G + b"\r\n" + P + b"Content-Length: 5\r\n\r\nhello" + TE + b"1\r\nx\r\n0\r\n\r\n",
    "the same thrice": (P + b"X: y\r\nContent-Length: 5\r\nZ: a\r\n\r\nhello") * 3,
    "the same with other lengths": b"".join(
        P + b"Content-Length: %d\r\nZ: a\r\n\r\n" % n + b"x" * n for n in (1, 10, 100, 0, 9)
    ),
    "head within a head": (P + b"Content-Length: 0\r\n\r\n") + G + b"X: y\r\n\r\n",
    "chunked": TE + b"5\r\nhello\r\n0\r\n\r\n",
    "chunked with all there is": (
        TE + b'005;a=b\r\nhello\r\nA;c\r\n0123456789\r\n000;d="e"\r\nX: y\r\nZ: \r\n\r\n'
    ),
    "blank lines": b"\r\n\r\n" + P + b"Content-Length: 5\r\n\r\nhello\r\n\r\n" + G + b"\r\n",
    "offer": G + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "offer with body": (
        P + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 31\r\n\r\n" + EVIL
    )
    * 2,
    "offer with chunks": (
        P + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1f\r\n" + EVIL + b"\r\n0\r\n\r\n"
    ),
    "old but lasting": (
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello" * 2
    ),
    "connection names the length": (
        P + b"Connection: keep-alive, content-length, host\r\nContent-Length: 31\r\n\r\n" + EVIL
    ),
    "expects what nobody knows": P + b"Expect: 200-ok\r\nContent-Length: 31\r\n\r\n" + EVIL,
    "expects to be asked, and does not wait": (
        P + b"Expect: 100-Continue\r\nContent-Length: 31\r\n\r\n" + EVIL
    ),
    "head only": b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute": b"GET http://y/z HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host in HTTP/1.0": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "odd but allowed": (
        b"DELETE /?;:@&=+$,#%00 HTTP/1.1\r\nHOST:\r\n!#$%&'*+-.^_`|~1: \xff\t \x80\r\n\r\n"
    ),
}
