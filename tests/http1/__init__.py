"""The two HTTP/1.1 ends, over real sockets."""
