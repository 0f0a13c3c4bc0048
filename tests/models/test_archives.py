"""Archives that are no models but traps: paths that lead out, links, bombs, damage. Nothing of them is kept."""

from __future__ import annotations

import gzip
import io
import json
import random
import stat
import tarfile
import zipfile

import pytest

from llmkit.errors import ModelError, UsageError
from llmkit.models import archives
from llmkit.models.archives import origin_of, unpacked, unpacked_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def nothing_is_left(tmp_path):
    yield
    assert not unpacked_folder().exists() or list(unpacked_folder().iterdir()) == []
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("a.")} <= {"cache"}


def tar_with(path, *members, **values):
    with tarfile.open(path, "w") as tar:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = 0
            for key, value in values.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(b"x" * info.size))


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/out", "C:\\out", "..\\out"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_lead_out(tmp_path, kind, name):
    archive = tmp_path / f"a.{kind}"
    if kind == "tar":
        tar_with(archive, "fine", name)
    else:
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("fine", "x")
            zipped.writestr(name, "x")
    with pytest.raises(ModelError, match="would write outside of its folder"):
        unpacked(archive, "a")


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_links_and_devices_in_a_tarball(tmp_path, kind, says):
    tar_with(tmp_path / "a.tar", "config.json", type=kind, linkname="/etc/passwd")
    with pytest.raises(ModelError, match=rf"has {says} in it: config\.json"):
        unpacked(tmp_path / "a.tar", "a")


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize(
    ("kind", "option"), [(tarfile.SYMTYPE, "--dereference"), (tarfile.LNKTYPE, "--hard-dereference")]
)
def test_how_to_pack_without_links(tmp_path, kind, option):
    tar_with(tmp_path / "a.tar", "config.json", type=kind, linkname="other.json")
    with pytest.raises(ModelError) as raised:
        unpacked(tmp_path / "a.tar", "a")
    assert f"tar {option} " in raised.value.hint


@pytest.mark.usefixtures("nothing_is_left")
def test_a_link_in_a_zip(tmp_path):
    info = zipfile.ZipInfo("config.json")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(ModelError, match=r"has a link in it: config\.json"):
        unpacked(tmp_path / "a.zip", "a")


@pytest.mark.usefixtures("nothing_is_left")
def test_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMKIT_ARCHIVE_GB", "0.001")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("weights", bytes(2_000_000))
    with pytest.raises(ModelError, match=r"unpacks to more than 0\.001 GB") as raised:
        unpacked(tmp_path / "a.zip", "a")
    assert "LLMKIT_ARCHIVE_GB" in raised.value.hint

    monkeypatch.setenv("LLMKIT_ARCHIVE_GB", "much")
    with pytest.raises(UsageError, match="LLMKIT_ARCHIVE_GB is 'much'"):
        unpacked(tmp_path / "a.zip", "a")


@pytest.mark.usefixtures("nothing_is_left")
def test_damage(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("weights", bytes(range(256)) * 100)
    whole = (tmp_path / "a.zip").read_bytes()
    for content in (whole[:5000], whole[:300] + b"?" + whole[301:], b"not a zip"):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(ModelError, match="is damaged"):
            unpacked(tmp_path / "a.zip", "a")
    (tmp_path / "a.tar").write_bytes(b"not a tarball")
    with pytest.raises(ModelError, match="is damaged"):
        unpacked(tmp_path / "a.tar", "a")


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize(
    ("ending", "mode"), [("tgz", "w:gz"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz"), ("tar.bz2", "w:bz2")]
)
def test_damage_in_a_compressed_tarball(tmp_path, ending, mode):
    """Of bytes that do not compress, so that only the checksum at the end tells; and of the checksum itself."""
    archive = tmp_path / f"a.{ending}"
    with tarfile.open(archive, mode) as tar:
        info = tarfile.TarInfo("model.safetensors")
        info.size = 50_000
        tar.addfile(info, io.BytesIO(random.Random(0).randbytes(info.size)))
    whole = archive.read_bytes()
    for place in (len(whole) // 3, len(whole) // 2, len(whole) - 6):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(ModelError, match=f"'a.{ending}' is damaged"):
            unpacked(archive, archive.name)
    archive.write_bytes(whole[:-3])
    with pytest.raises(ModelError, match=f"'a.{ending}' is damaged"):
        unpacked(archive, archive.name)


@pytest.mark.usefixtures("nothing_is_left")
def test_damage_between_the_members_of_a_tarball(tmp_path):
    """Python's own reader takes it for the end, and leaves out what follows."""
    tar_with(tmp_path / "a.tar", "config.json", "model.safetensors", size=100)
    whole = (tmp_path / "a.tar").read_bytes()
    for content in (whole[:1030] + b"?" + whole[1031:], whole[:1024], whole[:1300]):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(ModelError, match="is damaged"):
            unpacked(tmp_path / "a.tar", "a")


@pytest.mark.usefixtures("nothing_is_left")
def test_a_tarball_goes_on_after_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_SMALL", 1_000_000)
    tar_with(tmp_path / "a.tar", "config.json")
    with gzip.open(tmp_path / "a.tar.gz", "wb") as packed:
        packed.write((tmp_path / "a.tar").read_bytes() + bytes(3_000_000))
    with pytest.raises(ModelError, match="it goes on after its end"):
        unpacked(tmp_path / "a.tar.gz", "a")


@pytest.mark.usefixtures("nothing_is_left")
def test_the_same_file_twice(tmp_path):
    tar_with(tmp_path / "a.tar", "config.json", "config.json")
    with pytest.raises(ModelError, match=r"has a file twice: config\.json"):
        unpacked(tmp_path / "a.tar", "a")


@pytest.mark.usefixtures("nothing_is_left")
def test_what_is_a_hundred_times_as_large_inside(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_SMALL", 1_000_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("weights", bytes(2_000_000))
    with pytest.raises(ModelError, match="unpacks to more than 100 times its size"):
        unpacked(tmp_path / "a.zip", "a")


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_what_is_said_of_a_member_is_short(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "_LONGEST_HEADER", 1000)
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 5000
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with pytest.raises(ModelError, match="is damaged"):
        unpacked(tmp_path / "a.tar", "a")


@pytest.mark.usefixtures("nothing_is_left")
@pytest.mark.parametrize("name", [".", "a/" * 30 + "b", "n" * 300])
def test_names_that_no_model_has(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(name, "x")
    with pytest.raises(ModelError, match="has a member"):
        unpacked(tmp_path / "a.zip", "a")


@pytest.mark.usefixtures("nothing_is_left")
def test_a_member_where_the_note_of_an_archive_is(tmp_path):
    tar_with(tmp_path / "a.tar", "config.json", ".llmkit-archive/x")
    with pytest.raises(ModelError, match=r"'a' has a member where llmkit notes .*: \.llmkit-archive/x"):
        unpacked(tmp_path / "a.tar", "a")


def test_an_archive_of_what_was_unpacked(tmp_path):
    tar_with(tmp_path / "a.tar", "config.json", ".llmkit-archive", size=10)
    folder = unpacked(tmp_path / "a.tar", "a")
    assert origin_of(folder) == str(tmp_path / "a.tar")
    assert unpacked(tmp_path / "a.tar", "a") == folder


@pytest.mark.parametrize("what", ["gone", "cut off", "without a note", "with a note of an earlier llmkit"])
def test_what_has_gone_from_the_cache_is_unpacked_again(tmp_path, what):
    tar_with(tmp_path / "a.tar", "m/config.json", "m/weights", size=10)
    folder = unpacked(tmp_path / "a.tar", "a")
    (folder / "m" / "config.json").write_text("x" * 9 + "y")
    assert unpacked(tmp_path / "a.tar", "a") == folder
    assert (folder / "m" / "config.json").read_text().endswith("y")  # not unpacked while nothing is missing

    if what == "gone":
        (folder / "m" / "weights").unlink()
    elif what == "cut off":
        (folder / "m" / "weights").write_bytes(b"x")
    elif what == "without a note":
        (folder / ".llmkit-archive").unlink()
    else:
        (folder / ".llmkit-archive").write_text(str(tmp_path / "a.tar"))

    assert unpacked(tmp_path / "a.tar", "a") == folder
    assert {file.name: file.read_text() for file in (folder / "m").iterdir()} == {
        "config.json": "x" * 10,
        "weights": "x" * 10,
    }
    assert json.loads((folder / ".llmkit-archive").read_text())["archive"] == str(tmp_path / "a.tar")
    assert list(unpacked_folder().iterdir()) == [folder]
