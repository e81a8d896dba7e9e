"""The server of a book: a port that cannot be is an error in words."""

import socket

import pytest

from lungseg_utils import __main__ as command_line


@pytest.mark.parametrize("port", [0, 99999, -1])
def test_a_port_that_cannot_be_had_is_refused(tmp_path, capsys, port):
    (tmp_path / "index.html").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = port or taken.getsockname()[1]
        assert command_line.main(["serve", str(tmp_path), "--port", str(port)]) == 2
    shown = capsys.readouterr().err
    assert f"error: --port {port}: " in shown
    assert "Choose" in shown
