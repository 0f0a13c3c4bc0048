"""Files that are whole or not there."""

import errno
import os
from pathlib import Path

import pytest

from llmkit.data.atomic import check_place, explained_write, write_whole
from llmkit.errors import OutputError, UsageError


class TestWholeWrite:
    def test_it_is_there_and_alone(self, tmp_path):
        write_whole(tmp_path / "a", b"one")
        write_whole(tmp_path / "a", b"two")
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert (tmp_path / "a").read_bytes() == b"two"

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_what_fails_half_way_leaves_what_there_was(self, tmp_path, monkeypatch, step):
        write_whole(tmp_path / "a", b"one")

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        target = "os.fsync" if step == "fsync" else "pathlib.Path.replace"
        monkeypatch.setattr(target, full)
        with pytest.raises(OutputError, match="no space left on the device"):
            write_whole(tmp_path / "a", b"two")
        assert [path.name for path in tmp_path.iterdir()] == ["a"]
        assert (tmp_path / "a").read_bytes() == b"one"

    def test_a_link_stays_and_leads_to_it(self, tmp_path):
        (tmp_path / "d").mkdir()
        for link, target in (("link", "d/a"), ("loop", "loop")):
            (tmp_path / link).symlink_to(target)
        for content in (b"one", b"two"):
            write_whole(tmp_path / "link", content)
            assert (tmp_path / "d" / "a").read_bytes() == content
        assert (tmp_path / "link").is_symlink()
        write_whole(tmp_path / "loop", b"one")  # it led nowhere
        assert (tmp_path / "loop").read_bytes() == b"one"

    def test_where_it_cannot_be(self, tmp_path):
        with pytest.raises(OutputError, match=r"cannot write .*a: No such file or directory\."):
            write_whole(tmp_path / "none" / "a", b"")


class TestPlace:
    def test_a_file_or_nothing(self, tmp_path):
        check_place(tmp_path / "a")
        (tmp_path / "a").write_bytes(b"")
        (tmp_path / "link").symlink_to("a")
        check_place(tmp_path / "a")
        check_place(tmp_path / "link")

    @pytest.mark.parametrize("place", [".", "..", "/", "folder"])
    def test_a_folder(self, tmp_path, monkeypatch, place):
        (tmp_path / "folder").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="is a folder"):
            check_place(Path(place))

    def test_a_device_or_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for place in (Path("/dev/null"), tmp_path / "pipe"):
            with pytest.raises(UsageError, match="is a device or a pipe"):
                check_place(place)


class TestExplained:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (OSError(errno.ENOSPC, "x"), "cannot write out: no space left on the device."),
            (PermissionError(errno.EACCES, "Permission denied"), "cannot write out: Permission denied."),
            (OSError("no number"), "cannot write out: no number."),
        ],
    )
    def test_one_message(self, error, said):
        with pytest.raises(OutputError) as caught, explained_write("out", "try again"):
            raise error
        assert (caught.value.message, caught.value.hint) == (said, "try again")

    @pytest.mark.parametrize("error", [BrokenPipeError(), ValueError(), KeyboardInterrupt()])
    def test_what_is_not_the_disks_fault_passes(self, error):
        with pytest.raises(type(error)) as caught, explained_write("out"):
            raise error
        assert caught.value is error
