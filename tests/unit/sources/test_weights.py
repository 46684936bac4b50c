"""Pretrained weights: from files, caches and servers to one checked file, or to one clear line."""

import hashlib
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from builders import refused, served
from imagepipe.config.recipe import WeightsFile
from imagepipe.config.weights import WeightsRecord, WeightsRequest
from imagepipe.sources import weights as writing
from imagepipe.sources.downloading import RetryPolicy
from imagepipe.sources.weights_fitting import fit_tensors, inspect
from imagepipe.sources.weights_library import LibraryWeights, find_library_weights

ARCHITECTURE = "test_efficientnet"
REPOSITORY = "timm/test_efficientnet.r160_in1k"
HUB_PATH = f"/{REPOSITORY}/resolve/main/model.safetensors"
HASTY = RetryPolicy(tries=2, connect=5, read=5, pause=0.01)

Tensors = dict[str, Tensor]


@dataclass
class Server:
    """Files by their paths with headers of their own. `cuts`: how much to send before a cut."""

    address: str = ""
    files: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, headers = found.files.get(self.path.partition("?")[0], (None, {}))
            asked = self.headers["Range"]
            found.heard.append(f"{self.command} {self.path} {asked}")
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            self.send_response_only(404 if content is None else 206 if asked else 200)
            body = (content or b"no such file")[start:]
            if asked and content is not None:
                size = len(content)
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            for name, value in ({"ETag": '"one"'} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: found.cuts.pop(0)] if found.cuts else body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with served(Handler) as address:
        found.address = address
        yield found


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, and no network but this machine."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return weights_of(ARCHITECTURE)


def weights_of(architecture: str, num_classes: int = 1000) -> Tensors:
    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=num_classes)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def request(weights: object = "pretrained", **changes: Any) -> WeightsRequest:
    values = {"package": "timm", "architecture": ARCHITECTURE, "weights": weights}
    return WeightsRequest.model_validate(values | changes)


def write(tmp_path: Path, asked: WeightsRequest) -> tuple[Tensors, WeightsRecord]:
    """Write the weights, and return them and their record."""
    folder = tmp_path / "weights"
    path, record = folder / "w.safetensors", folder / "w.json"
    writing.write_weights(asked, path, record, folder / ".downloads", HASTY)
    found = WeightsRecord.read(record)
    assert found.sha256 == sha256(path.read_bytes())
    return load_file(path), found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def same(first: Tensors, second: Tensors) -> bool:
    return first.keys() == second.keys() and all(first[n].equal(second[n]) for n in first)


def test_a_file_of_the_users_own(tmp_path: Path, tensors: Tensors) -> None:
    save_file(tensors, tmp_path / "mine.safetensors")
    found, record = write(tmp_path, request(str(tmp_path / "mine.safetensors")))
    assert same(found, tensors)
    assert record == WeightsRecord(
        package="timm",
        architecture=ARCHITECTURE,
        package_version=timm.__version__,
        origin="mine.safetensors",
        source_sha256=sha256((tmp_path / "mine.safetensors").read_bytes()),
        sha256=record.sha256,
        pretrained_on=None,
        license=None,
        mean=[0.485, 0.456, 0.406],
        std=[0.229, 0.224, 0.225],
        image_size=[160, 160],
        interpolation="bicubic",
        head_classes=1000,
    )


def test_the_same_weights_give_the_same_bytes(tmp_path: Path, tensors: Tensors) -> None:
    """Whatever their order, their packaging, and the precision of values that fit into both."""
    half = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}
    values = {n: t.float() if t.is_floating_point() else t for n, t in half.items()}
    wrapped = {f"module._orig_mod.{name}": half[name] for name in reversed(half)}
    torch.save({"epoch": 3, "state_dict": wrapped, "args": "x"}, tmp_path / "a.pth.tar")
    torch.save(values, tmp_path / "b.bin", _use_new_zipfile_serialization=False)
    torch.save({"model": half}, tmp_path / "c.pt")
    save_file(values, tmp_path / "d.safetensors", {"b": "1", "a": "2"})
    hashes = set()
    for name in ("a.pth.tar", "b.bin", "c.pt", "d.safetensors"):
        found, record = write(tmp_path, request(str(tmp_path / name)))
        assert same(found, values)
        hashes.add(record.sha256)
    assert len(hashes) == 1


@pytest.mark.parametrize("classes", [0, 3])
def test_a_head_of_any_number_of_classes_or_none(tmp_path: Path, classes: int) -> None:
    own = weights_of(ARCHITECTURE, classes)
    save_file(own, tmp_path / "mine.safetensors")
    found, record = write(tmp_path, request(str(tmp_path / "mine.safetensors")))
    assert same(found, own)
    assert record.head_classes == classes


class Code:
    """A pickle of it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "run")


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, tensors: Tensors, form: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / "mine.pth"
    content = tensors | {"more": Code(mark)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"more": Code(mark)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with refused(str(path), "code (", "not run", ".safetensors"):
        write(tmp_path, request(str(path)))
    assert not mark.exists()
    assert not (tmp_path / "weights").exists()
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert mark.exists()  # as the code would have been run


@pytest.mark.parametrize(
    "content",
    [
        lambda whole: whole[:-1000],
        lambda whole: whole[:500],
        lambda whole: whole[:7],
        lambda _: b"",
        lambda _: b"<!DOCTYPE html><html>not found</html>",
        lambda _: pickle.dumps([1, 2])[:-3],
    ],
    ids=["cut tensors", "cut header", "cut length", "empty", "page", "cut pickle"],
)
def test_a_damaged_file(tmp_path: Path, tensors: Tensors, content: Any) -> None:
    path = tmp_path / "mine.bin"
    path.write_bytes(content(save(tensors)))
    with refused(str(path), "is damaged, or no file of weights", "get the file again"):
        write(tmp_path, request(str(path)))
    assert not (tmp_path / "weights").exists()


def test_files_that_hold_something_else(tmp_path: Path, tensors: Tensors) -> None:
    path = tmp_path / "mine.pth"
    for content in ({"epoch": 1}, [torch.zeros(1)], {"state_dict": {}}):
        torch.save(content, path)
        with refused(str(path), "no tensors by name"):
            write(tmp_path, request(str(path)))
    itself: dict[str, Any] = {}
    itself["model"] = itself
    torch.save(itself, path)
    with refused(str(path), "no tensors by name"):
        write(tmp_path, request(str(path)))
    name = next(iter(tensors))
    for odd in (tensors[name].to_sparse(), tensors[name].to("meta")):
        torch.save(tensors | {name: odd}, path)
        with refused(f"{path}: {name} is sparse, quantized or without values"):
            write(tmp_path, request(str(path)))
    torch.save(tensors | {name: torch.full_like(tensors[name], torch.nan)}, path)
    with refused(str(path), f"{name} has values that are not finite"):
        write(tmp_path, request(str(path)))
    for missing, problem in ((tmp_path / "x.pth", "does not exist"), (tmp_path, "is a folder")):
        with refused(f"{missing}: ", problem, "correct the path"):
            write(tmp_path, request(str(missing)))


@pytest.mark.parametrize(
    ("library", "architecture", "problem"),
    [
        ("timm", "test_resnet", "there is no conv1.0.weight"),
        ("torchvision", "resnet18", "there is no conv1.weight"),
        ("timm", "efficientnet_lite0", "conv_stem.weight is 24×3×3×3 where 32×3×3×3 is expected"),
    ],
)
def test_weights_of_another_architecture(
    tmp_path: Path, tensors: Tensors, library: str, architecture: str, problem: str
) -> None:
    save_file(tensors, tmp_path / "mine.safetensors")
    changes = {"package": library, "architecture": architecture}
    with refused(f"another architecture than {architecture}: {problem}"):
        write(tmp_path, request(str(tmp_path / "mine.safetensors"), **changes))
    assert not (tmp_path / "weights").exists()


def test_weights_of_a_deeper_network(tmp_path: Path, tensors: Tensors) -> None:
    save_file(tensors | {"blocks.9.x": torch.zeros(1)}, tmp_path / "mine.safetensors")
    with refused("there is blocks.9.x, which the network lacks"):
        write(tmp_path, request(str(tmp_path / "mine.safetensors")))


def test_timm_converts_the_authors_weights(tmp_path: Path) -> None:
    """Those that a user has downloaded are of the same form as those that timm downloads."""
    own = weights_of("test_vit")
    name = "patch_embed.proj.weight"
    save_file(own | {name: own[name].flatten(1)}, tmp_path / "mine.safetensors")
    asked = request(str(tmp_path / "mine.safetensors"), architecture="test_vit")
    assert same(write(tmp_path, asked)[0], own)


def test_names_of_older_versions_of_torchvision() -> None:
    asked = request(package="torchvision", architecture="densenet121")
    shapes = inspect(torchvision, asked).shapes
    whole = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    whole["classifier.bias"] = torch.zeros(1000)
    old = {re.sub(r"(denselayer.*)(norm|conv)([12])\.", r"\1\2.\3.", n): whole[n] for n in whole}
    old = {name: old[name] for name in old if "num_batches_tracked" not in name}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    fitted, classes = fit_tensors(asked, old, "file")
    assert fitted.keys() == whole.keys()
    assert classes == 1000


def test_heads_for_training_alone_are_left_out() -> None:
    asked = request(package="torchvision", architecture="googlenet")
    assert not [name for name in inspect(torchvision, asked).shapes if "aux" in name]


def test_a_download_that_is_cut_is_resumed_by_the_next_call(
    tmp_path: Path, tensors: Tensors, server: Server
) -> None:
    content = save(tensors)
    server.files["/a/w%20(1).safetensors"] = (content, {})
    url = f"{server.address}/a/w%20(1).safetensors"
    asked = request({"url": url, "sha256": sha256(content)})
    half = len(content) // 2
    server.cuts = [half, 0]
    downloads = tmp_path / "weights" / ".downloads"
    with refused(url, "cut after", "last of 2", "call again to carry on", "override='{model:"):
        write(tmp_path, asked)
    assert (downloads / "w-20-1-.safetensors.partial").stat().st_size == half
    server.heard.clear()
    found, record = write(tmp_path, asked)
    assert server.heard == [f"GET /a/w%20(1).safetensors bytes={half}-"]
    assert same(found, tensors)
    assert (record.origin, record.source_sha256) == (url, sha256(content))
    assert names_in(tmp_path / "weights") == [".downloads/lock", "w.json", "w.safetensors"]


def test_a_download_with_a_wrong_hash(tmp_path: Path, tensors: Tensors, server: Server) -> None:
    server.files["/w.pth"] = (save(tensors), {})
    url = f"{server.address}/w.pth"
    with refused(url, sha256(save(tensors)), "0" * 64, "nothing was kept", "correct the url and"):
        write(tmp_path, request({"url": f"{url}?secret", "sha256": "0" * 64}))
    assert names_in(tmp_path / "weights") == [".downloads/lock"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [("{}/x.pth", "the server answers 404"), ("ftp://x/y.pth", "neither http nor https")],
)
def test_an_address_without_a_file(tmp_path: Path, server: Server, url: str, problem: str) -> None:
    asked = WeightsFile(url=url.format(server.address), sha256="0" * 64)
    with refused(problem, "correct the url and sha256", "override='{model: {weights: PATH}}'"):
        write(tmp_path, request(asked))


def test_a_download_of_another_architecture_is_not_kept(tmp_path: Path, server: Server) -> None:
    content = save(weights_of("test_resnet"))
    server.files["/w.pth"] = (content, {})
    asked = request({"url": f"{server.address}/w.pth", "sha256": sha256(content)})
    with refused(f"{server.address}/w.pth: has weights of another architecture"):
        write(tmp_path, asked)
    assert names_in(tmp_path / "weights") == [".downloads/lock"]


def linked(content: bytes) -> dict[str, str]:
    """Return the header by which the Hub tells a file's hash."""
    return {"X-Linked-Etag": f'"{sha256(content)}"'}


def test_pretrained_weights_come_from_the_hub(
    tmp_path: Path, tensors: Tensors, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, from the server that HF_ENDPOINT names."""
    monkeypatch.setenv("HF_ENDPOINT", f"{server.address}/")
    content = save(tensors)
    server.files[HUB_PATH] = (content, linked(content))
    found, record = write(tmp_path, request())
    assert same(found, tensors)
    assert record.origin == f"https://huggingface.co{HUB_PATH}"
    assert record.pretrained_on == "r160_in1k"
    assert record.license == "apache-2.0"
    assert server.heard == [f"HEAD {HUB_PATH} None", f"GET {HUB_PATH} None"]

    server.files[HUB_PATH] = (content, linked(b"another"))
    with refused(HUB_PATH, sha256(content), sha256(b"another"), "nothing was kept", "override="):
        write(tmp_path, request())
    assert names_in(tmp_path / "weights" / ".downloads") == ["lock"]


def test_a_repository_may_have_only_a_pickle(
    tmp_path: Path, tensors: Tensors, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    torch.save(tensors, tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    path = HUB_PATH.replace("model.safetensors", "pytorch_model.bin")
    server.files[path] = (content, linked(content))
    found, record = write(tmp_path, request())
    assert same(found, tensors)
    assert record.origin == f"https://huggingface.co{path}"


def in_hub_cache(tmp_path: Path, content: bytes, name: str) -> None:
    """Put a file into Hugging Face's cache under a hash as its name."""
    folder = tmp_path / "hf" / f"models--{REPOSITORY.replace('/', '--')}"
    for path, text in (("refs/main", b"abc"), (f"blobs/{name}", content)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    link = folder / "snapshots/abc/model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../blobs/{name}")


def test_the_cache_of_hugging_face_is_looked_at_first(
    tmp_path: Path, tensors: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    content = save(tensors)
    in_hub_cache(tmp_path, content, sha256(content))
    found, record = write(tmp_path, request())
    assert same(found, tensors)
    assert record.origin == f"https://huggingface.co{HUB_PATH}"
    assert names_in(tmp_path / "weights") == ["w.json", "w.safetensors"]


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_nothing_is_asked_for(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv(variable, "true")
    in_hub_cache(tmp_path, b"damaged", "0" * 64)
    words = ("model.safetensors", f"{variable} is set", "override='{model: {weights: PATH}}'")
    with refused(f"{server.address}{HUB_PATH}", *words, "'{model: {on: {weights: PATH}}}'"):
        write(tmp_path, request())
    url = f"{server.address}/w.pth"
    with refused(url, variable, "0" * 64):
        write(tmp_path, request({"url": url, "sha256": "0" * 64}))
    assert server.heard == []
    assert not (tmp_path / "weights").exists()


def test_without_a_network_it_says_what_to_get(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:9{HUB_PATH}"
    with refused(address, "no connection", "get model.safetensors yourself", "override="):
        write(tmp_path, request())
    assert names_in(tmp_path / "weights") == [".downloads/lock"]


def torchvisions(monkeypatch: pytest.MonkeyPatch, url: str) -> LibraryWeights:
    """Let torchvision's weights for squeezenet1_1 be at another address."""
    asked = request(package="torchvision", architecture="squeezenet1_1")
    offered = find_library_weights(asked)
    assert offered is not None
    assert re.fullmatch(r"https://.*/squeezenet1_1-[0-9a-f]{8}\.pth", offered.url or "")
    monkeypatch.setattr(writing, "find_library_weights", lambda _: replace(offered, url=url))
    return offered


def test_the_digits_of_a_hash_in_a_name_are_compared(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First with a file in PyTorch's cache, then with the one on the server."""
    tensors = torchvision.models.squeezenet1_1().state_dict()
    torch.save(tensors, tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    asked = request(package="torchvision", architecture="squeezenet1_1")
    name = f"squeezenet1_1-{sha256(content)[:8]}.pth"
    torchvisions(monkeypatch, f"{server.address}/{name}")
    cached = Path(torch.hub.get_dir(), "checkpoints", name)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    found, record = write(tmp_path, asked)
    assert same(found, dict(tensors))
    assert server.heard == []
    assert record.origin == f"{server.address}/{name}"
    assert record.pretrained_on == "IMAGENET1K_V1"
    assert (record.head_classes, record.interpolation) == (1000, "bilinear")

    cached.write_bytes(content[:-1])
    server.files[f"/{name}"] = (content, {})
    again, same_record = write(tmp_path, asked)
    assert same(again, found)
    assert same_record == record

    server.files[f"/{name}"] = (content + b"0", {})
    with refused(name, sha256(content)[:8], "nothing was kept", "override="):
        write(tmp_path, asked)
    assert names_in(tmp_path / "weights" / ".downloads") == ["lock"]


def test_networks_that_are_unknown_or_have_no_weights(
    tmp_path: Path, tensors: Tensors, caplog: pytest.LogCaptureFixture
) -> None:
    with refused("timm has no 'test_efficientnets'", "did you mean 'test_efficientnet'"):
        write(tmp_path, request(architecture="test_efficientnets"))
    lacking = "efficientnet_b8"
    with refused(f"timm has no weights for {lacking}", "choose another architecture"):
        write(tmp_path, request(architecture=lacking))
    with refused("timm has no weights 'resnet50.a1_in1' (did you mean 'resnet50.a1_in1k'"):
        write(tmp_path, request(architecture="resnet50.a1_in1"))


def test_a_tag_chooses_among_the_weights_of_timm() -> None:
    found = find_library_weights(request(architecture="resnet50.tv_in1k"))
    assert found is not None
    assert found.hub == ("timm/resnet50.tv_in1k", "main")
    assert (found.name, found.preprocessing.interpolation) == ("tv_in1k", "bilinear")


def test_preprocessing_without_weights_of_the_library(
    tmp_path: Path,
    tensors: Tensors,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(writing, "find_library_weights", lambda _: None)
    save_file(tensors, tmp_path / "mine.safetensors")
    caplog.set_level("INFO")
    _, record = write(tmp_path, request(str(tmp_path / "mine.safetensors")))
    assert (record.mean, record.image_size) == ([0.485, 0.456, 0.406], [224, 224])
    assert record.interpolation == "bilinear"
    assert "normalized as is usual for ImageNet" in caplog.text


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [("googlenet", (0.5, "bilinear", 224)), ("efficientnet_b2", (0.485, "bicubic", 288))],
)
def test_preprocessing_of_torchvision(architecture: str, expected: tuple[float, str, int]) -> None:
    offered = find_library_weights(request(package="torchvision", architecture=architecture))
    assert offered is not None
    found = offered.preprocessing
    assert (found.mean[0], found.interpolation, found.image_size[0]) == expected


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"package": "keras"}'])
def test_a_damaged_record(tmp_path: Path, content: str) -> None:
    path = tmp_path / "w.json"
    path.write_text(content)
    with refused(str(path), "is not a record of weights", "remove it and call again"):
        WeightsRecord.read(path)
    with refused("missing.json"):
        WeightsRecord.read(tmp_path / "missing.json")
