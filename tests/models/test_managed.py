"""Foreign modules in ComfyUI's memory manager: counted, unloaded, cancelled, and out of memory."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy import model_management

from comfy_nodes.models.managed import ManagedModule, OutOfMemory, size_of
from comfy_nodes.wires.batches import each


class Fixed(torch.nn.Module):
    """Like transformers' models, it does not let anybody set its device; and it keeps a buffer out of its state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(256, 256)
        self.register_buffer("table", torch.ones(1000), persistent=False)

    @property
    def device(self) -> torch.device:
        return self.linear.weight.device

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


BYTES = 4 * (256 * 256 + 256 + 1000)


def loaded_bytes() -> int:
    """What ComfyUI counts as loaded, over all models."""
    return sum(model.loaded_size() for model in model_management.loaded_models())


def test_is_counted_while_loaded_and_gone_after_free() -> None:
    managed = ManagedModule(Fixed(), "tiny")
    assert size_of(managed._module) == managed.patcher.model_size() == BYTES
    assert loaded_bytes() == 0
    with managed.on_device() as module:
        assert module(torch.ones(1, 256)).requires_grad is False
        assert managed.patcher in model_management.loaded_models()
        assert loaded_bytes() == BYTES
    model_management.unload_all_models()  # what /free with unload_models calls
    assert model_management.loaded_models() == []
    assert loaded_bytes() == 0 and managed.patcher.loaded_size() == 0
    with managed.on_device():
        assert loaded_bytes() == BYTES


def test_goes_to_the_device_and_back_whole() -> None:
    """`meta` plays the other device: weights that lie there are really gone from the CPU."""
    managed = ManagedModule(Fixed(), "tiny")
    patcher = managed.patcher
    patcher.load_device = torch.device("meta")
    patcher.partially_load(patcher.load_device, 1000)  # far less room than it takes: all of it goes nevertheless
    tensors = [*managed._module.parameters(), *managed._module.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert patcher.loaded_size() == BYTES
    assert patcher.partially_unload(patcher.offload_device, 1000) == 0
    assert {tensor.device.type for tensor in [*managed._module.parameters()]} == {"meta"}


def test_several_models_are_unloaded_together_and_die_with_their_owner() -> None:
    owners = [ManagedModule(Fixed(), f"model {number}") for number in range(3)]
    for owner in owners:
        with owner.on_device():
            pass
    assert [type(model.model).__name__ for model in model_management.loaded_models()] == [
        "model 2",
        "model 1",
        "model 0",
    ]
    assert loaded_bytes() == 3 * BYTES
    remains = weakref.ref(owners[0]._module)
    del owner, owners
    gc.collect()
    assert remains() is None
    assert model_management.loaded_models() == []


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_unloads_everything_and_says_so(error: Exception) -> None:
    managed, other = ManagedModule(Fixed(), "SAM 2.1 large"), ManagedModule(Fixed(), "other")
    with other.on_device():
        pass
    held: list[weakref.ref[torch.Tensor]] = []

    def compute() -> None:
        activations = torch.ones(10)
        held.append(weakref.ref(activations))
        raise error

    with pytest.raises(OutOfMemory, match=r"^SAM 2.1 large: out of memory\. [^\n]+$"), managed.on_device():
        compute()
    assert model_management.loaded_models() == []
    assert held[0]() is None


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), ManagedModule(Fixed(), "tiny").on_device():
        print(1 // 0)


def test_a_cancel_ends_the_work_before_the_next_item() -> None:
    done = []
    with pytest.raises(model_management.InterruptProcessingException):
        for item in each([1, 2, 3, 4]):
            done.append(item)
            if item == 2:
                model_management.interrupt_current_processing()
    assert done == [1, 2]
    assert not model_management.processing_interrupted()
