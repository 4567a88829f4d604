"""The page, launched on a free port and used as a browser or a script would."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.generate import Sampling
from app.models import load_model
from app.serve import check_address, is_local, launch
from app.studio import MAX_PICTURES, Studio
from pipelines import read_picture_info

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*:pandas.errors.Pandas4Warning"
)
PROMPT = "红色高跟鞋"
PASSWORD = "a long secret"


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@pytest.fixture(scope="module")
def studio(model_dir: Path) -> Studio:
    return Studio(load_model(model_dir, "cpu"), model_dir)


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    from app.page import build_page

    page = build_page(studio.pipe, studio.model)
    port = free_port()
    launch(page, "127.0.0.1", port, PASSWORD)
    yield f"http://127.0.0.1:{port}"
    page.close()


@pytest.fixture(scope="module")
def client(url: str, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    from gradio_client import Client

    return Client(
        url, auth=("anyone", PASSWORD), verbose=False, download_files=tmp_path_factory.mktemp("downloads")
    )


def test_the_endpoint_is_named_and_documented(client) -> None:  # type: ignore[no-untyped-def]
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/generate"]
    names = [parameter["parameter_name"] for parameter in endpoints["/generate"]["parameters"]]
    assert names == ["prompt", "num_images", "seed", "top_k", "top_p", "temperature", "guidance_scale"]
    assert all(parameter["parameter_has_default"] for parameter in endpoints["/generate"]["parameters"][1:])
    assert "PNG" in endpoints["/generate"]["description"]


def test_the_endpoint_gives_files_that_say_how_they_were_made(client, studio: Studio, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    gallery, status = client.predict(PROMPT, 2, 5, 4, 0.9, 1.1, 1.5, api_name="/generate")
    assert len(gallery) == 2 and "5 – 6" in status
    info = read_picture_info(gallery[1]["image"])
    assert info["prompt"] == PROMPT and info["seed"] == 6 and gallery[1]["caption"].endswith("6")
    used = (info["top_k"], info["top_p"], info["temperature"], info["guidance_scale"])
    assert used == (4, 0.9, 1.1, 1.5)
    last = list(studio.draw(PROMPT, 1, 6, Sampling(*used), tmp_path))[-1]
    assert isinstance(last.pictures[0], Path)
    assert last.pictures[0].read_bytes() == Path(gallery[1]["image"]).read_bytes(), (
        "same seed, another picture"
    )


def test_the_gallery_fills_while_codes_are_drawn(client) -> None:  # type: ignore[no-untyped-def]
    job = client.submit(PROMPT, 1, 5, api_name="/generate")
    job.result(timeout=60)
    statuses = [status for _, status in job.outputs()]
    assert len(statuses) > 1 and "50 %" in statuses[0] and "完成" in statuses[-1]


@pytest.mark.parametrize(
    ("prompt", "num_images", "top_k", "message"),
    [
        ("  ", 1, 4, "empty"),
        ("鞋" * 15, 1, 4, "limit is 14"),
        ("犇鑫", 1, 4, "knows none"),
        ("鞋" * 9999, 1, 4, "characters"),
        (PROMPT, MAX_PICTURES + 1, 4, "maximum"),
        (PROMPT, 1, 17, "maximum"),
        (PROMPT, 1, 0, "minimum"),
    ],
)
def test_wrong_input_is_answered_with_a_sentence(  # type: ignore[no-untyped-def]
    client, prompt: str, num_images: int, top_k: int, message: str
) -> None:
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=message):
        client.predict(prompt, num_images, 1, top_k, api_name="/generate")


def test_a_wrong_password_opens_nothing(url: str) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AuthenticationError

    for auth in (("anyone", "another secret"), None):
        with pytest.raises((AuthenticationError, ValueError), match="[Ll]ogin|[Cc]redentials|auth"):
            Client(url, auth=auth, verbose=False)


def test_leaving_the_stream_ends_the_drawing(studio: Studio, tmp_path: Path) -> None:
    before = threading.active_count()
    views = studio.draw(PROMPT, 1, None, Sampling(), tmp_path)
    assert next(views).share_done < 1
    views.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before and not list(tmp_path.iterdir())


def test_examples_are_prompts_that_the_model_knows(studio: Studio) -> None:
    examples = studio.examples()
    assert "军旅风迷彩高跟鞋" in examples
    assert not any(studio.unknown(text) or studio.complaint(text) for text in examples)


def test_only_this_machine_needs_no_password() -> None:
    assert all(map(is_local, ("127.0.0.1", "127.8.0.1", "localhost", "::1")))
    assert not any(map(is_local, ("0.0.0.0", "::", "192.168.1.2", "example.com")))
    check_address("127.0.0.1", free_port(), None)
    check_address("0.0.0.0", free_port(), PASSWORD)


@pytest.mark.parametrize(
    ("host", "port", "password", "message"),
    [
        ("0.0.0.0", 7860, None, "--password"),
        ("0.0.0.0", 7860, "", "--password"),
        ("0.0.0.0", 7860, "short", "at least 8"),
        ("127.0.0.1", 0, None, "1 to 65535"),
        ("127.0.0.1", 70000, None, "1 to 65535"),
        ("8.8.8.8", 7860, PASSWORD, "cannot listen"),
    ],
)
def test_addresses_that_cannot_or_must_not_be_used(
    host: str, port: int, password: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_address(host, port, password)


def test_a_port_in_use_is_told_before_the_model_loads() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ValueError, match="in use.*--port"):
            check_address("127.0.0.1", other.getsockname()[1], None)
