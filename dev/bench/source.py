"""A server of zeros, as fast as the kernel sends them: what the injector alone can carry is measured with it."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def served_zeros(size: int) -> Iterator[int]:
    """Yields the port of a server that answers whatever it is asked by so many bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile() as zeros:
        zeros.truncate(size)

        def answer(connection: socket.socket) -> None:
            with connection, open(zeros.fileno(), "rb", closefd=False) as file, suppress(OSError):
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
                connection.sendfile(file)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
