"""One of two ranks that train one model as DistributedDataParallel: FOLDER [STEP AT WHICH RANK 1 MUST STOP]."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from nightspot.checkpoint import TrainingState
from nightspot.checkpoint.pytorch import ResumableLoader, torch_checkpointer, torch_gather

folder, stop_at = Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else None
rank = int(os.environ["RANK"])
torch.set_num_threads(1)
torch.manual_seed(1)
store = distributed.FileStore(str(folder / f"store-{'first' if stop_at else 'second'}"), 2)
distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)

features = torch.randn(24, 3, generator=torch.Generator().manual_seed(5))
loader = ResumableLoader(
    torch.utils.data.TensorDataset(features, features.sum(1, keepdim=True)), 2, rank=rank, world_size=2
)
model = torch.nn.Linear(3, 1)
parallel = DistributedDataParallel(model)
optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
state = {"model": model, "optimiser": optimiser, "training": TrainingState(loader=loader)}
checkpointer = torch_checkpointer(
    folder / "checkpoints",
    total_steps=8,
    every_steps=3,
    replicated=True,
    gather=torch_gather(),
    handle_sigterm=True,
)
restored = checkpointer.restore()
if restored:
    restored.load_into(state)
report = {"resumed from": restored.step if restored else None, "done": restored.step if restored else 0}
while report["done"] < 8 and not checkpointer.should_stop:
    for values, target in loader:
        loss = torch.nn.functional.mse_loss(parallel(values), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        report["done"] += 1
        if report["done"] == stop_at and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        checkpointer.save_if_due(report["done"], state, metrics={"loss": loss.item()})
        if report["done"] == 8 or checkpointer.should_stop:
            break
report["weights"] = [each.flatten().tolist() for each in model.state_dict().values()]
print(json.dumps(report))
# A rank that is gone would break off what the other has not quite finished.
distributed.barrier()
del parallel
distributed.destroy_process_group()
checkpointer.exit_if_asked()
