"""Uploads: what comes in is whole, of a kind that is read, and cheap to look into; or it is not."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import random
import struct
import threading
import zlib
from fractions import Fraction

import pytest
from conftest import draw_picture
from PIL import Image, features
from served import API, send_file

from impasto.images.inspection import Inspector, recognise_format
from impasto.painting.painter import paint
from impasto.studio.limits import StudioLimits

BYTES = {"Content-Type": "application/octet-stream"}
FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"]
FORMATS += ["AVIF"] if features.check("avif") else []


def encode(kind: str, width: int = 24, height: int = 16) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_picture(width, height)).save(file, format=kind)
    return file.getvalue()


def put(api, content, name="a.png", **headers):
    return api.put(f"{API}/uploads?name={name}", content=content, headers={**BYTES, **headers})


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_of_every_format_come_back_as_they_were(api, kind):
    content = encode(kind)
    answer = put(api, content, "a picture.x").json()
    assert (answer["kind"], answer["width"], answer["height"]) == ("picture", 24, 16)
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    back = api.get(answer["content"])
    assert back.content == content
    assert back.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert back.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(api.get(answer["thumbnail"]).content)) as small:
        assert (small.format, small.size) == ("WEBP", (24, 16))


def test_the_same_file_is_the_same_upload_and_kept_once(api, studio):
    content = encode("PNG")
    first, again = put(api, content).json(), put(api, content).json()
    other = put(api, content, "b.png").json()
    assert first["id"] == again["id"] != other["id"]
    assert first["sha256"] == other["sha256"]
    assert studio.services.uploads.count_bytes() == len(content)
    assert [each["id"] for each in api.get(f"{API}/uploads").json()["uploads"]] == [
        other["id"],
        first["id"],
    ]
    api.delete(f"{API}/uploads/{first['id']}")
    assert api.get(other["content"]).content == content
    assert api.get(first["content"]).status_code == 404
    api.delete(f"{API}/uploads/{other['id']}")
    assert not [p for p in studio.services.folder.rglob("*") if first["sha256"] in p.name]
    assert studio.services.uploads.count_bytes() == 0


def test_lists_go_on(api):
    for number in range(5):
        put(api, encode("PNG"), f"{number}.png")
    page = api.get(f"{API}/uploads?most=3").json()
    rest = api.get(f"{API}/uploads?most=3&before={page['more']}").json()
    assert len(page["uploads"]) == 3
    assert len(rest["uploads"]) == 2
    assert rest["more"] is None


def test_asked_again_with_its_tag_it_is_not_sent_again(api):
    upload = put(api, encode("PNG")).json()
    tag = api.get(upload["content"]).headers["etag"]
    again = api.get(upload["content"], headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    part = api.get(upload["content"], headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "..\\..\\x.png", "/etc/x.png", ".hidden.png", "a\nb.png", "ü\u202e.png"],
)
def test_names_are_no_paths(api, name):
    answer = api.put(f"{API}/uploads", params={"name": name}, content=encode("PNG"), headers=BYTES)
    known = answer.json()["name"]
    assert not set("/\\\n\u202e") & set(known)
    assert not known.startswith(".")
    disposition = api.get(answer.json()["content"]).headers["content-disposition"]
    assert "\n" not in disposition


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"%PDF-1.7 " + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"#!/bin/sh\necho",
        b"GIF89a"[:5],
        b"\x7fELF" + bytes(100),
    ],
)
def test_what_is_no_picture_is_refused_by_its_first_bytes(api, studio, content):
    assert put(api, content).status_code == 415
    assert not list((studio.services.folder / "parts").iterdir())


def test_html_behind_a_picture_s_beginning_is_no_page(api):
    """A file that is both is sent as the picture that it begins as, or not taken."""
    gif = encode("GIF")
    answer = put(api, gif + b"<script>alert(1)</script>")
    if answer.status_code == 200:
        back = api.get(answer.json()["content"])
        assert back.headers["content-type"] == "image/gif"
        assert "sandbox" in back.headers["content-security-policy"]


def test_too_many_bytes_are_refused_whether_said_or_not(tmp_path):
    from served import Studio

    from impasto.studio.services import serving

    limits = StudioLimits(upload_bytes=2000)
    with serving(tmp_path, limits) as services:
        api = Studio(services).client()
        content = b"\x89PNG\r\n\x1a\n" + bytes(5000)
        assert put(api, content).status_code == 413
        assert put(api, iter([content[:1000], content[1000:]])).status_code == 413
        assert not list((tmp_path / "parts").iterdir())


def test_a_full_quota_and_a_full_disk_are_507(api, studio, monkeypatch):
    kept = put(api, encode("PNG")).json()
    free = studio.services.files.free_bytes
    monkeypatch.setattr(studio.services.files, "free_bytes", lambda: 1 << 20)
    answer = put(api, encode("PNG", 30, 30))
    assert (answer.status_code, answer.json()) == (507, {"error": "the disk is full"})
    monkeypatch.setattr(studio.services.files, "free_bytes", free)
    monkeypatch.setattr(studio.services, "limits", StudioLimits(quota=kept["size"] + 10))
    answer = put(api, encode("PNG", 30, 30))
    assert answer.status_code == 507
    assert "raise --quota" in answer.json()["error"]
    assert api.get(kept["content"]).status_code == 200


def test_a_disk_that_fills_up_while_a_file_comes_keeps_nothing_of_it(api, studio, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("impasto.jobs.file_store.os.fsync", refuse)
        answer = put(api, encode("PNG"))
    assert answer.status_code == 507
    assert answer.json() == {"error": "cannot keep it: no space left on device"}
    assert not [p for p in (studio.services.folder / "files").rglob("*") if p.is_file()]
    assert not list((studio.services.folder / "parts").iterdir())
    assert put(api, encode("PNG")).status_code == 200


def test_a_painting_s_recipe_is_read_with_the_uploads_that_it_was_made_from(
    api, photo, picture, tmp_path
):
    painted = tmp_path / "painted.png"
    options = {"size": 48, "steps": 2, "precision": "float32", "layout": "planes"}
    paint(photo, picture, options).save(painted)
    content = send_file(api, photo)
    upload = send_file(api, painted)
    assert api.get(f"{API}/uploads/{upload}").json()["has_recipe"]
    recipe = api.get(f"{API}/uploads/{upload}/recipe").json()
    assert recipe["operation"] == "paint"
    assert recipe["options"] == options
    assert [each["upload"] for each in recipe["inputs"]["content"]] == [content]
    assert [(e["name"], e["upload"]) for e in recipe["inputs"]["style"]] == [(picture.name, None)]
    assert api.get(f"{API}/uploads/{content}/recipe").status_code == 404


def test_models_tell_their_styles(api):
    from impasto.studio.sources import list_samples

    folder = list_samples()["waves"].parent.parent
    answer = put(api, (folder / "painters.safetensors").read_bytes(), "m.safetensors").json()
    assert answer["kind"] == "model"
    styles = api.get(f"{API}/styles").json()["styles"]
    assert answer["styles"] == [each["name"] for each in styles if each["model"] == "painters"]
    assert answer["thumbnail"] is None
    broken = struct.pack("<Q", 50) + b"{not json" + bytes(100)
    assert put(api, broken).status_code == 422


def test_several_uploads_at_once(api):
    found = []

    def send(number):
        found.append(put(api, encode("PNG", 20 + number, 20), f"{number}.png").status_code)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 6


# --- what is meant to do harm -------------------------------------------------------------------


def write_png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        total = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", total)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_text_bomb() -> bytes:
    """A small file whose comment unpacks to 64 MB."""
    good = write_png(4, 4, (b"\0" + bytes(12)) * 4)
    content = b"impasto\0\1\0\0\0" + zlib.compress(bytes(64 << 20), 9)
    kind = b"iTXt" + content
    chunk = struct.pack(">I", len(content)) + kind + struct.pack(">I", zlib.crc32(kind))
    return good[:33] + chunk + good[33:]


BOMBS = {
    "sides of 2^31": write_png(2**31 - 1, 2**31 - 1, b""),
    "100 gigapixels": write_png(10**6, 10**5, bytes(1 << 20)),
    "more megapixels than are taken": write_png(20_000, 20_000, bytes(1 << 20)),
    "no pixels": write_png(0, 10, b""),
    "a comment that unpacks": write_text_bomb(),
    "a WebP of 16383": b"RIFF\x20\0\0\0WEBPVP8 \x14\0\0\0\x10\x02\0\x9d\x01\x2a\xff\x3f\xff\x3f"
    + bytes(9),
    "a TIFF whose directories are a circle": b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + bytes(50),
    "a GIF of 65535": b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff"
    b"\0\x02\x02\x44\x01\0;",
    "a PPM of 10^9": b"P6 1000000000 1000000000 255\n" + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_one_line(api, name):
    answer = put(api, BOMBS[name])
    assert answer.status_code in (415, 422), answer.text
    assert "\n" not in answer.json()["error"]
    assert put(api, encode("PNG")).status_code == 200


def test_what_takes_too_long_is_ended_and_the_next_is_looked_into(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(write_png(6000, 6000, bytes((1 + 6000 * 3) * 6000)))
    good = tmp_path / "good.png"
    good.write_bytes(encode("PNG"))
    slow = Inspector(seconds=0.01)
    with pytest.raises(Exception, match=r"takes more than 0.01 seconds, or 1.0 GiB, to decode"):
        slow.inspect(path)
    slow.seconds = 60
    assert slow.inspect(good).width == 24
    assert slow.inspect(path).width == 6000
    slow.close()


def test_what_takes_too_much_memory_is_refused(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(write_png(6000, 6000, bytes((1 + 6000 * 3) * 6000)))
    small = Inspector(seconds=60, memory=100 << 20)
    with pytest.raises(Exception, match=r"memory to decode|ends what decodes it|cut short"):
        small.inspect(path)
    small.close()


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Change, drop, double or shuffle some bytes."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        place = (
            rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(64, len(data)))
        )
        how = rng.randrange(5)
        if how == 0:
            data[place] = rng.randrange(256)
        elif how == 1:
            data[place] ^= 1 << rng.randrange(8)
        elif how == 2:
            del data[place : place + rng.randint(1, 40)]
        elif how == 3:
            data[place:place] = rng.randbytes(rng.randint(1, 40))
        else:
            data[place : place + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
        data = data or bytearray(b"x")
    return bytes(data)


def send_mutants(api, count: int) -> dict[int, int]:
    rng = random.Random(18)
    originals = [encode(kind) for kind in FORMATS]
    statuses: dict[int, int] = {}
    for number in range(count):
        answer = put(api, mutate(rng.choice(originals), rng), f"{number}.png")
        assert answer.status_code in (200, 415, 422), (number, answer.text)
        assert json.loads(answer.text)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    return statuses


def test_a_share_of_mutated_files(api):
    statuses = send_mutants(api, 150)
    assert set(statuses) == {200, 415, 422}
    assert put(api, encode("PNG")).status_code == 200


@pytest.mark.slow
def test_ten_thousand_mutated_files_leave_the_server_alive_and_small(api):
    from impasto.system.memory import resident_memory

    send_mutants(api, 200)
    before = resident_memory()
    send_mutants(api, 10_000)
    after = resident_memory()
    assert put(api, encode("PNG")).status_code == 200
    assert before is None or after - before < 100 << 20


def test_beginnings_are_told_apart():
    for kind in FORMATS:
        found = recognise_format(encode(kind)[:64])
        assert found == ("picture", kind.lower())
    assert recognise_format(b"\0\0\0\x20ftypisom") == ("film", "mp4")
    assert recognise_format(b"\x1a\x45\xdf\xa3") == ("film", "webm")
    assert recognise_format(b'TITLE "warm"\nLUT_3D_SIZE 2\n') == ("table", "cube")
    assert recognise_format(b"#!/bin/sh\n") is None
    assert recognise_format(b"") is None


def test_a_film_has_a_size_a_length_and_a_small_picture(api, tmp_path):
    pytest.importorskip("av")
    from film_clips import SIZE, draw_pan, write_clip

    path = write_clip(tmp_path / "a film.mp4", draw_pan(20), rate=Fraction(10))
    info = put(api, path.read_bytes(), name="a film.mp4").json()
    assert (info["kind"], info["format"]) == ("film", "mp4")
    assert (info["width"], info["height"]) == SIZE
    assert info["seconds"] == pytest.approx(2.0, abs=0.15)
    with Image.open(io.BytesIO(api.get(info["thumbnail"]).content)) as small:
        assert small.format == "WEBP"
        assert small.width / small.height == pytest.approx(SIZE[0] / SIZE[1], rel=0.05)


def test_a_film_that_cannot_be_read_has_none_of_these(api):
    info = put(api, b"\0\0\0\x20ftypisom" + bytes(200), name="cut.mp4").json()
    assert (info["width"], info["seconds"], info["thumbnail"]) == (0, None, None)
