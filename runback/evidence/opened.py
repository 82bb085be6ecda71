"""Open the named tensors of a file, and execute nothing of it: no pickle is ever loaded."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from runback.evidence.case import CLOSED, LARGEST_BYTES, CannotLook, needed
from runback.evidence.documents import parsed
from runback.evidence.leaves import Twice
from runback.evidence.tensors import Lazy, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

# A name's depth among nested dicts; a file that was made for it could have no end.
_DEEPEST = 50
# A file can say that it holds any number of elements, and hold none.
_SPARE_BYTES = 1_000_000_000


@dataclass
class Opened:
    """tensors: by name, read when they are asked for. plain: what stands among them."""

    tensors: dict[str, Lazy] = field(default_factory=dict)
    plain: dict[str, Any] = field(default_factory=dict)

    def tensor(self, name: str, tensor: Lazy) -> None:
        self._refuse(name)
        self.tensors[name] = tensor

    def beside(self, name: str, value: Any) -> None:
        self._refuse(name)
        self.plain[name] = value

    def _refuse(self, name: str) -> None:
        if name in self.tensors or name in self.plain:
            raise Twice(name)


def h5(file: BinaryIO) -> Opened:
    """Open an HDF5 file: its data sets, and its attributes as what stands among them."""
    h5py = needed("h5py", "h5py")
    found = Opened()

    def visit(name: str, item: Any) -> None:
        for key in item.attrs:
            found.beside(f"{name}@{key}", _shown(item.attrs[key]))
        if isinstance(item, h5py.Dataset):
            found.tensor(name, partial(_h5_tensor, item))
        else:
            found.beside(name, type(item).__name__)

    # Links out of the file are not visited: visititems follows hard links alone.
    whole = h5py.File(file, "r")
    for key in whole.attrs:
        found.beside(f"@{key}", _shown(whole.attrs[key]))
    whole.visititems(visit)
    return found


def _h5_tensor(item: Any) -> Tensor:
    if item.external or item.is_virtual:
        raise CannotLook(f"{item.name} is kept in another file")
    if item.nbytes > 1000 * item.id.get_storage_size() + _SPARE_BYTES:
        raise CannotLook(f"{item.name} unpacks to {item.nbytes:,} bytes")
    return Tensor(item.dtype.str, _array(item[()]))


def _shown(value: Any) -> Any:
    """Return a plain value of an attribute."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _parsed(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _parsed(text: str) -> Any:
    """Return what Keras writes as JSON into an attribute; other texts as they are."""
    try:
        return parsed(text) if text.startswith("{") else text
    except (ValueError, RecursionError):
        return text


def _array(value: Any) -> Any:
    import numpy as np

    return np.asarray(value)


def npy(file: BinaryIO) -> Opened:
    """Open a .npy file, unless it holds a pickle."""
    np = needed("numpy", "numpy")
    file.seek(0)
    array = np.load(file, allow_pickle=False)
    _refuse_more(file, "the array")
    return Opened({"array": lambda: Tensor(array.dtype.str, array)})


def npz(file: BinaryIO) -> Opened:
    """Open a .npz file, whose arrays are read when they are asked for."""
    needed("numpy", "numpy")
    found, archive = Opened(), zipfile.ZipFile(file)
    for info in archive.infolist():
        found.tensor(info.filename.removesuffix(".npy"), partial(_npz_tensor, archive, info))
    return found


def _npz_tensor(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tensor:
    import numpy as np

    with archive.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        _refuse_more(member, info.filename)
    return Tensor(array.dtype.str, array)


def _refuse_more(file: IO[bytes], name: str) -> None:
    if file.read(1):
        raise CannotLook(f"differs in its bytes, and has more behind {name}: not looked into")


def safetensors(file: BinaryIO) -> Opened:
    """Open a .safetensors file: its header, and the bytes that it points at."""
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    if size > LARGEST_BYTES:
        raise CannotLook(f"{CLOSED}: a header of {size} bytes")
    header = parsed(file.read(size))
    plain = header.pop("__metadata__", {})
    tensors: dict[str, Lazy] = {
        name: partial(_slice, file, 8 + size, str(about["dtype"]), *_placed(about))
        for name, about in header.items()
    }
    held = sum(end - start for _, start, end in map(_placed, header.values()))
    if file.seek(0, 2) != 8 + size + held:
        raise CannotLook("differs in its bytes, and holds more or less than its tensors")
    found = Opened(tensors)
    for key, value in plain.items():
        found.beside(f"__metadata__.{key}", value)
    return found


# What numpy has; of the others the bits are compared.
_NUMPY = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"},
    "C64": "<c8",
}


def _placed(about: dict[str, Any]) -> tuple[tuple[int, ...], int, int]:
    start, end = about["data_offsets"]
    shape = tuple(int(n) for n in about["shape"])
    if not 0 <= start <= end or any(n < 0 for n in shape):
        raise ValueError("offsets that are none")
    return shape, int(start), int(end)


def _slice(
    file: BinaryIO, data: int, dtype: str, shape: tuple[int, ...], start: int, end: int
) -> Tensor:
    import numpy as np

    file.seek(data + start)
    content = file.read(end - start)
    if len(content) != end - start:
        raise CannotLook("differs in its bytes, and is cut off")
    if dtype == "BF16":
        return Tensor(dtype, np.frombuffer(content, "<u2").reshape(shape), bfloat16)
    if dtype not in _NUMPY:
        return Tensor(f"{dtype} {shape}", np.frombuffer(content, "S1"))
    return Tensor(dtype, np.frombuffer(content, _NUMPY[dtype]).reshape(shape))


def bfloat16(bits: Any) -> Any:
    """Return the numbers of raw bits of bfloat16, as float32."""
    return (bits.astype("u4") << 16).view("f4")


def torch(file: BinaryIO) -> Opened:
    """Open what torch.save wrote, tensors and plain values alone. Raises CannotLook."""
    import warnings

    loading = needed("torch", "torch")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = loading.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file, or one that refuses, leads to
        raise CannotLook(f"{CLOSED}: torch does not load it: {_refusal(error)}") from error
    found = Opened()
    for name, leaf in _leaves(content, "", 0):
        if isinstance(leaf, loading.Tensor):
            found.tensor(name, partial(_torch_tensor, loading, leaf))
        else:
            found.beside(name, leaf)
    return found


def _refusal(error: Exception) -> str:
    """Return the part of torch's long message that says what it refuses."""
    said = re.search(r"WeightsUnpickler error: ([^\n]*?)(?:\. |\n|$)", str(error))
    return said[1][:160] if said else str(error).strip().split("\n")[0][:160]


def _leaves(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield what nested dicts and lists hold, by dotted name, and what those names do not say."""
    if depth > _DEEPEST:
        raise CannotLook("differs in its bytes, and is nested too deep")
    if isinstance(value, dict) and value:
        items: Any = value.items()
        kinds = sorted({type(key).__name__ for key in value})
        if kinds != ["str"]:
            yield f"{name} (keys)", ", ".join(kinds)
    elif isinstance(value, list | tuple) and value:
        items = enumerate(value)
        yield f"{name} (keys)", "none"
    else:
        yield name or "value", value
        return
    for key, part in items:
        yield from _leaves(part, f"{name}.{key}" if name else str(key), depth + 1)


def _torch_tensor(loading: Any, tensor: Any) -> Tensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != loading.strided or tensor.is_quantized or tensor.is_meta:
        raise CannotLook(f"a tensor of a kind that is not looked into ({dtype}, {tensor.layout})")
    size = tensor.numel() * tensor.element_size()
    if size > tensor.untyped_storage().nbytes() + _SPARE_BYTES:
        raise CannotLook(f"a tensor that unpacks to {size:,} bytes")
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if dtype == "bfloat16":
        return Tensor(dtype, tensor.view(loading.uint16).numpy(), bfloat16)
    try:
        return Tensor(dtype, tensor.numpy())
    except TypeError:
        bits = tensor.view(loading.uint8).numpy()
        is_float8 = dtype.startswith("float8")
        real = partial(_float8, loading, tensor.dtype) if is_float8 else None
        return Tensor(dtype, bits, real)


def _float8(loading: Any, dtype: Any, bits: Any) -> Any:
    return loading.from_numpy(bits.copy()).view(dtype).float().numpy()
