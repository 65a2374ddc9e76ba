"""A pretended GPU: tensors are computed on the CPU, and it is written down where they would lie.

What is pretended, after CUDA's rules:

* Every storage has a place. ``.to``, ``.cpu``, ``.cuda``, factories with ``device`` and tensors
  made from others set it; ``.device`` tells it; checkpoints keep it.
* An operation on tensors of both places is an error, unless those on the CPU have no axes, or are
  the indices of ``x[i]``. What is written to, and the index of ``gather`` and its kin, is on the
  GPU too.
* A generator draws for its own place alone. Only tensors on the CPU become numpy's.
* Operations that CUDA has for floating point alone refuse integers.
* ``torch.autocast`` rounds to bfloat16 there, as it does on the CPU.

A factory that PyTorch calls by itself, for a gradient say, is open: it lies where the first tensor
lies that it meets.
"""

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

__all__ = ["GPU", "Misplaced", "Places", "pretended"]

GPU = torch.device("cuda", 0)
FACTORIES = (
    *("arange", "empty", "empty_strided", "eye", "frombuffer", "from_numpy", "full", "linspace"),
    *("logspace", "ones", "rand", "randint", "randn", "randperm", "scalar_tensor", "tensor"),
    *("tril_indices", "triu_indices", "zeros"),
)
LIKES = ("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like")
NEW = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")
DRAWS = ("bernoulli", "multinomial", "normal", "poisson")
DRAWN_IN_PLACE = (
    *("bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "multinomial"),
    *("bernoulli", "normal_", "random_", "uniform_"),
)
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
"""Their second argument, a list of indices, may lie on the CPU."""
STRICT = (
    *("embedding", "equal", "gather", "index_add", "index_add_", "index_copy", "index_copy_"),
    *("index_select", "scatter", "scatter_", "scatter_add", "scatter_add_", "scatter_reduce"),
    *("searchsorted", "take"),
)
"""They take no tensor on the CPU, not even one without axes."""
FREE = ("copy_", "_foreach_copy_")
FLOATS_ALONE = (
    *("addmm", "addmv", "avg_pool2d", "avg_pool3d", "baddbmm", "bmm", "convolution", "dot"),
    *("grid_sampler_2d", "grid_sampler_3d", "max_pool2d_with_indices", "mm", "mv"),
    *("max_pool3d_with_indices", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d", "upsample_bilinear2d"),
)


class Misplaced(RuntimeError):
    """What a GPU would refuse."""


class Places(TorchDispatchMode):
    """Know where every storage would lie: ``cpu``, ``cuda``, or ``open``.

    Attributes:
        bytes: of the storages that are on the GPU now.
        peak: the most there have been.
        launches: operations on the GPU so far that are no views, each perhaps several kernels.
        operations: with floating point in products and convolutions there, as PyTorch counts them.
        integers: operations on the GPU, and the types of their arguments that are no floats.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, tuple[weakref.ref[Any], str, int]] = {}
        self.bytes = self.peak = self.launches = self.operations = 0
        self.integers: set[tuple[str, str]] = set()

    def of(self, storage: torch.UntypedStorage) -> str:
        """Return a storage's place; the CPU unless told otherwise."""
        found = self.known.get(storage._cdata)
        return found[1] if found else "cpu"

    def put(self, storage: torch.UntypedStorage, place: str) -> None:
        """Write down where a storage lies, for as long as there is such a storage."""
        key = storage._cdata
        self.forget(key)
        if place == "cpu":
            return
        size = storage.nbytes() if place == "cuda" else 0
        gone = weakref.ref(storage, lambda _: self.forget(key))
        self.known[key] = (gone, place, size)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)

    def forget(self, key: int) -> None:
        """Take a storage off the list."""
        if key in self.known:
            self.bytes -= self.known.pop(key)[2]

    def settled(self, storage: torch.UntypedStorage) -> str:
        """Return a storage's place to somebody who asks for it: open no more."""
        place = self.of(storage)
        if place == "open":
            self.put(storage, place := "cpu")
        return place

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what is asked for where that could be done; write down where the results lie."""
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ == "set_":  # another name for a storage
            return func(*args, **kwargs)
        given = [(t, storage(t)) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        place = self.common(func, args, kwargs, given)
        out = self.compute(func, args, kwargs)
        if place == "cuda" and not func.is_view:
            self.launches += 1
            count = flop_registry.get(func.overloadpacket)
            self.operations += count(*args, **kwargs, out_val=out) if count else 0
        before = {s._cdata for _, s in given}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and (own := storage(tensor))._cdata not in before:
                self.put(own, place)
        return out

    def compute(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Do what is asked for, on the CPU."""
        return func(*args, **kwargs)

    def common(self, func: Any, args: Any, kwargs: dict[str, Any], given: list[Any]) -> str:
        """Return the place of what comes out.

        Raises:
            Misplaced: a GPU would not do this.
        """
        places = {self.of(s) for _, s in given}
        name = func.overloadpacket.__name__
        if name in FREE:
            return self.of(given[0][1])
        if "cuda" not in places:
            firm = any(t.dim() and self.of(s) == "cpu" for t, s in given)
            return "cpu" if firm or places == {"cpu"} else "open"
        indices = []
        if name in INDEXED:
            self.settled(storage(args[0]))
            indices = [id(t) for t in args[1] if t is not None] if on_gpu(self, args[0]) else []
        written = written_to(func, args, kwargs)
        for tensor, own in given:
            if self.of(own) == "open":
                self.put(own, "cuda")
            free = tensor.dim() == 0 and name not in STRICT and id(tensor) not in written
            if self.of(own) == "cpu" and not free and id(tensor) not in indices:
                told = ", ".join(f"{tuple(t.shape)} {self.of(s)}" for t, s in given)
                raise Misplaced(f"{name} of tensors in two places: {told}")
            if not tensor.is_floating_point() and self.of(own) == "cuda":
                self.integers.add((name, str(tensor.dtype)))
        if name in FLOATS_ALONE and not given[0][0].is_floating_point():
            raise Misplaced(f"{name} of {given[0][0].dtype}, which CUDA has not")
        return "cuda"


def storage(tensor: Tensor) -> torch.UntypedStorage:
    """Return a tensor's storage, that of a functorch wrapper too."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor.untyped_storage()


def on_gpu(places: Places, tensor: Tensor) -> bool:
    """Return whether a tensor would lie on the GPU."""
    return places.of(storage(tensor)) == "cuda"


@functools.cache
def written_names(func: Any) -> tuple[tuple[int, str], ...]:
    """Return the places and names of the arguments that an operation writes to."""
    arguments = enumerate(func._schema.arguments)
    return tuple((i, a.name) for i, a in arguments if a.alias_info and a.alias_info.is_write)


def written_to(func: Any, args: Any, kwargs: dict[str, Any]) -> list[int]:
    """Return the ids of the tensors that a call writes to."""
    found = [args[i] if i < len(args) else kwargs.get(n) for i, n in written_names(func)]
    return [id(leaf) for leaf in tree_leaves(found)]


def place_of(device: Any) -> str:
    """Return the place that a ``device`` argument names."""
    return "cpu" if device is None else torch.device(device).type


class Crossing(torch.autograd.Function):
    """A copy to the other place, whose gradient is copied back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Places, there: str) -> Tensor:
        """Copy."""
        ctx.back = (places, places.settled(storage(x)))
        out = x.clone()
        places.put(storage(out), there)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Copy back."""
        places, place = ctx.back
        out = grads[0].clone()
        places.put(storage(out), place)
        return out, None, None


def split_to(args: Any, kwargs: dict[str, Any]) -> tuple[Any, list[Any], dict[str, Any]]:
    """Return the device that the arguments of ``.to`` name, and those without it."""
    device = kwargs.get("device")
    rest = {k: v for k, v in kwargs.items() if k not in ("device", "other")}
    args = [kwargs["other"], *args] if "other" in kwargs else list(args)
    if args and isinstance(args[0], Tensor):
        return args[0].device, [args[0].dtype, *args[1:]], rest
    if args and isinstance(args[0], str | torch.device):
        device, args = args[0], args[1:]
    if args and args[0] is None:  # no type is named
        args = args[1:]
    return device, [a for a in args if isinstance(a, torch.dtype)], rest


class Patches:
    """What stands in for PyTorch's own functions while the GPU is pretended."""

    def __init__(self, places: Places, stack: ExitStack):
        self.places, self.stack = places, stack
        self.real_to = Tensor.to

    def factory(self, real: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Make a tensor at the place that is asked for."""

        def made(*args: Any, **kwargs: Any) -> Tensor:
            if place_of(kwargs.get("device")) == "meta":
                return real(*args, **kwargs)
            place = place_of(kwargs.pop("device", None))
            if real.__name__ == "tensor" and isinstance(args[0], Tensor):
                place = self.places.settled(storage(args[0]))
            self.may_draw(kwargs.get("generator"), place, real.__name__)
            out = real(*args, **kwargs)
            self.places.put(storage(out), place)
            return out

        return made

    def like(self, real: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Make a tensor where another one lies, unless another place is asked for."""

        def made(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if x.is_meta or place_of(kwargs.get("device")) == "meta":
                return real(x, *args, **kwargs)
            device = kwargs.pop("device", None)
            place = self.places.settled(storage(x)) if device is None else place_of(device)
            self.may_draw(kwargs.get("generator"), place, real.__name__)
            out = real(x, *args, **kwargs)
            self.places.put(storage(out), place)
            return out

        return made

    def draw(self, real: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Draw for tensors that lie where the generator does."""

        def drawn(*args: Any, **kwargs: Any) -> Tensor:
            out = real(*args, **kwargs)
            self.may_draw(kwargs.get("generator"), self.places.of(storage(out)), real.__name__)
            return out

        return drawn

    def may_draw(self, generator: Any, place: str, name: str) -> None:
        """Refuse a generator of the other place."""
        if generator is not None and generator.device.type != place:
            raise Misplaced(f"{name} for {place} by a generator of {generator.device.type}")

    def to(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Move, convert, or both."""
        device, rest, named = split_to(args, kwargs)
        if x.is_meta or place_of(device) == "meta":
            return self.real_to(x, *args, **kwargs)
        place = self.places.settled(storage(x))
        there = place if device is None else place_of(device)
        if there != place:
            grad = x.requires_grad and torch.is_grad_enabled()
            if grad:
                x = Crossing.apply(x, self.places, there)
            else:
                x = x.detach().clone()
                self.places.put(storage(x), there)
        return self.real_to(x, *rest, **named) if rest or named else x

    def set(self) -> None:
        """Put everything in its place."""
        places = self.places

        def put(owner: Any, name: str, value: Any) -> None:
            self.stack.enter_context(mock.patch.object(owner, name, value))

        for name in FACTORIES:
            put(torch, name, self.factory(getattr(torch, name)))
        for name in (*LIKES, "zeros_like"):
            put(torch, name, self.like(getattr(torch, name)))
        for name in NEW:
            put(Tensor, name, self.like(getattr(Tensor, name)))
        for name in DRAWS:
            put(torch, name, self.draw(getattr(torch, name)))
        for name in DRAWN_IN_PLACE:
            put(Tensor, name, self.draw(getattr(Tensor, name)))
        numpy, deepcopy = Tensor.numpy, Tensor.__deepcopy__
        as_tensor = torch.as_tensor

        def as_numpy(x: Tensor, *args: Any, **kwargs: Any) -> Any:
            if on_gpu(places, x):
                raise Misplaced("can't convert a tensor on the GPU to numpy's")
            return numpy(x, *args, **kwargs)

        def copied(x: Tensor, memo: Any) -> Tensor:
            out: Tensor = deepcopy(x, memo)
            places.put(storage(out), places.of(storage(x)))
            return out

        def as_one(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
            if isinstance(data, Tensor):
                return data.to(device=device or data.device, dtype=dtype or data.dtype)
            return self.to(as_tensor(data, dtype=dtype), device or "cpu")

        def carried(own: torch.UntypedStorage) -> torch.UntypedStorage:
            out: torch.UntypedStorage = own.clone()
            places.put(out, "cuda")
            return out

        def module_to(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
            if args and isinstance(args[0], Tensor):  # its place is asked for inside PyTorch
                args = (args[0].device, args[0].dtype, *args[1:])
            return real_module_to(module, *args, **kwargs)

        def told(x: Tensor) -> torch.device:
            if x.is_meta:
                return torch.device("meta")
            return GPU if places.settled(storage(x)) == "cuda" else torch.device("cpu")

        put(Tensor, "to", lambda x, *args, **kwargs: self.to(x, *args, **kwargs))
        real_module_to = torch.nn.Module.to
        put(torch.nn.Module, "to", module_to)
        put(Tensor, "type_as", lambda x, other: x.to(other))
        put(Tensor, "cpu", lambda x, *args, **kwargs: x.to("cpu"))
        put(Tensor, "cuda", lambda x, *args, **kwargs: x.to("cuda"))
        put(Tensor, "numpy", as_numpy)
        put(Tensor, "__deepcopy__", copied)
        put(Tensor, "device", property(told))
        put(Tensor, "is_cuda", property(lambda x: told(x) == GPU))
        put(Tensor, "is_cpu", property(lambda x: told(x) != GPU))
        put(torch, "as_tensor", as_one)
        put(torch, "Generator", Generator)
        put(torch.UntypedStorage, "cuda", carried)
        put(torch, "autocast", Autocast)
        put(torch.cuda, "is_bf16_supported", lambda **_: True)
        put(torch.cuda, "reset_peak_memory_stats", lambda *_: None)
        put(torch.cuda, "max_memory_allocated", lambda *_: 0)
        put(torch.cuda, "get_device_name", lambda *_: "pretended")
        put(torch.backends.cudnn, "is_acceptable", lambda _: False)
        registry = [(5, self.location, self.located), *torch.serialization._package_registry]
        put(torch.serialization, "_package_registry", registry)

    def location(self, own: Any) -> str | None:
        """Return what a checkpoint says of a storage's place."""
        gpu = isinstance(own, torch.UntypedStorage) and self.places.of(own) == "cuda"
        return "cuda:0" if gpu else None

    def located(self, own: Any, location: str) -> Any:
        """Put a storage that a checkpoint holds where it says, unless it was put elsewhere."""
        return own.cuda() if location.startswith("cuda") else None


class Generator(torch._C.Generator):
    """A generator of one place, whose numbers are the CPU's."""

    place = torch.device("cpu")

    def __new__(cls, device: Any = "cpu") -> "Generator":
        """Make one for a place."""
        made: Generator = torch._C.Generator.__new__(cls, "cpu")  # type: ignore[call-arg]
        made.place = GPU if place_of(device) == "cuda" else torch.device("cpu")
        return made

    def __init__(self, device: Any = "cpu"):
        super().__init__()

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it draws."""
        return self.place

    def set_state(self, state: Tensor) -> "Generator":
        """Take up a state, which always lies on the CPU."""
        if state.device.type != "cpu":
            raise Misplaced("a generator's state lies on the CPU")
        super().set_state(state)
        return self


class Autocast(torch.autocast):
    """Round to bfloat16 as the CPU's does, for either place."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any):
        super().__init__("cpu", *args, **kwargs)


@contextmanager
def pretended(places: Places | None = None) -> Iterator[Places]:
    """Pretend a GPU."""
    places = Places() if places is None else places
    with ExitStack() as stack, places:
        Patches(places, stack).set()
        yield places
