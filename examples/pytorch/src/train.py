"""The usual PyTorch training script of public examples, with data of its own: it knows nothing of Nightspot."""

# ruff: noqa

import argparse
import glob
import os

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CHECKPOINTS = "/opt/ml/checkpoints"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--model-dir", type=str, default=os.environ["SM_MODEL_DIR"])
    args = parser.parse_args()

    torch.manual_seed(1)
    x = torch.randn(8192, 8)
    y = x @ torch.randn(8, 1) + 0.1 * torch.randn(8192, 1)
    loader = DataLoader(TensorDataset(x, y), batch_size=args.batch_size, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    loss_fn = nn.MSELoss()

    start_epoch = 1
    if not os.path.isdir(CHECKPOINTS):
        os.makedirs(CHECKPOINTS)
    saved = sorted(glob.glob(os.path.join(CHECKPOINTS, "ckpt-*.pt")))
    if saved:
        checkpoint = torch.load(saved[-1])
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        start_epoch = checkpoint["epoch"] + 1
        print(f"resumed from {saved[-1]}", flush=True)

    for epoch in range(start_epoch, args.epochs + 1):
        total = 0.0
        for features, target in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(features), target)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}/{args.epochs} loss={total / len(loader):.6f}", flush=True)
        torch.save(
            {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()},
            os.path.join(CHECKPOINTS, "ckpt-%04d.pt" % epoch),
        )

    torch.save(model.state_dict(), os.path.join(args.model_dir, "model.pt"))


if __name__ == "__main__":
    main()
