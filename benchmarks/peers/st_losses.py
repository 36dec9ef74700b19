"""The losses of sentence-transformers and PyTorch over given vectors: values and gradients."""

import torch
from sentence_transformers.sentence_transformer import losses


class Given(torch.nn.Module):
    """Stands in for a model: its sentence vectors are those put in."""

    device = "cpu"

    def forward(self, features, **_):
        return features

    def get_embedding_dimension(self):
        return self.width

    get_sentence_embedding_dimension = get_embedding_dimension


def loss_and_gradients(name, vectors, labels=None, options=None, arrays=()):
    """Value, and the gradient of each of the vectors and of `arrays` (weights of the loss itself)."""
    columns = [torch.from_numpy(column).requires_grad_() for column in vectors]
    model = Given()
    model.width = columns[0].shape[1]
    options = dict(options or {})
    inner = options.pop("inner", None)
    if inner:
        loss = getattr(losses, name)(model, getattr(losses, inner)(model), **options)
    elif name == "TripletLoss":
        metric = getattr(losses.TripletDistanceMetric, options["distance"])
        loss = losses.TripletLoss(model, metric, options["margin"])
    else:
        loss = getattr(losses, name)(model, **options).double()
    weights = list(loss.parameters()) if arrays else []
    with torch.no_grad():
        for parameter, array in zip(weights, arrays, strict=True):
            parameter.copy_(torch.from_numpy(array))
    labels = None if labels is None else torch.from_numpy(labels)
    value = loss([{"sentence_embedding": column} for column in columns], labels)
    value.backward()
    return value.item(), [tensor.grad.numpy() for tensor in columns + weights]


def in_batch(queries, documents, ids, margin=None, temperature=1.0):
    """PyTorch's loss of scores QAᵀ where equal ids answer alike, and both gradients.

    With a margin the margin contrastive loss, whose matches they all are; else cross entropy, which leaves them out.
    """
    q, a = (torch.from_numpy(array).requires_grad_() for array in (queries, documents))
    scores, ids = q @ a.T / temperature, torch.from_numpy(ids)
    same = ids[: len(q), None] == ids
    if margin is None:
        others = same & ~torch.eye(*same.shape, dtype=bool)
        value = torch.nn.functional.cross_entropy(scores.masked_fill(others, -torch.inf), torch.arange(len(q)))
    else:
        value = ((1 - scores[same]) ** 2).sum() + (torch.relu(scores[~same] - margin) ** 2).sum()
    value.backward()
    return value.item(), [q.grad.numpy(), a.grad.numpy()]


def adamw(theta, gradients, rates, weight_decay):
    """torch.optim.AdamW's θ after all gradients, with a rate for each."""
    parameter = torch.nn.Parameter(torch.from_numpy(theta))
    optimizer = torch.optim.AdamW([parameter], weight_decay=weight_decay)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = float(rate)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
    return parameter.detach().numpy()


def schedules(warmup, total):
    """transformers' shares of the peak at every step: linear and cosine."""
    import transformers

    shares = []
    for name in ("linear", "cosine"):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = transformers.get_scheduler(name, optimizer, warmup, total)
        rates = []
        for _ in range(total):
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr()[0])
        shares.append(rates)
    return shares
