"""How many images a second one process trains, or several together: started by torchrun.

    torchrun --nproc-per-node 1 -m benchmarks.scaling
    torchrun --nproc-per-node 2 -m benchmarks.scaling

The book's classifier with batches of 256 images in all, one thread a process: wall-clock time,
since what is asked is whether it is shorter. The first process prints one line.
"""

import time

import torch

from benchmarks import harness
from litgen import processes
from litgen.classifier import Classifier
from litgen.training import Minibatches, Player, play

__all__ = ["main", "measured"]

BATCH, STEPS = 256, 20


def measured(batch_size: int = BATCH, steps: int = STEPS, width: int = 16) -> dict[str, float]:
    """Return images a second over a few steps, and how many processes made them."""
    torch.manual_seed(0)
    net = Classifier(width=width)
    x = torch.rand(4 * batch_size, 1, 28, 28, generator=torch.Generator().manual_seed(0))

    def loss(batch: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = net(batch).logsumexp(dim=1).mean()
        return found

    player = Player("net", torch.optim.SGD(net.parameters(), 1e-3), loss)
    batches = Minibatches(x, batch_size, torch.Generator().manual_seed(0))
    start = 0.0
    for step in play([player], batches, steps + 3):
        if step.turn == 2:  # three to warm up
            start = time.perf_counter()
    rate = steps * batch_size / (time.perf_counter() - start)
    return {"processes": processes.count(), "images_per_second": round(rate, 1)}


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    with processes.joined():
        found = measured()
        if processes.rank() == 0:
            harness.print_json({"name": "scaling", **found})


if __name__ == "__main__":
    main()
