"""SBERT in PyTorch: transformers' BERT, mean, [CLS] or max pooling, and the three objectives of the paper."""

import torch
import transformers

state = {}


def create(tensors, classifier, learning_rate, weight_decay, pooling, **settings):
    """A BERT with these weights, a classifier over (u, v, |u − v|), and AdamW."""
    config = transformers.BertConfig(**settings, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = transformers.BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    head = torch.nn.Linear(classifier.shape[1], classifier.shape[0])
    torch.nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(classifier))
    named = [*model.named_parameters(), *head.named_parameters()]
    kept = [p for name, p in named if "bias" in name or "LayerNorm" in name]
    decayed = [p for name, p in named if not ("bias" in name or "LayerNorm" in name)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    state.update(model=model, head=head, optimizer=optimizer, pooling=pooling)


def vectors(ids, mask):
    """One vector a text, pooled over its tokens."""
    ids, mask = torch.from_numpy(ids), torch.from_numpy(mask)
    x = state["model"](input_ids=ids, attention_mask=mask.long()).last_hidden_state
    kept = mask.unsqueeze(-1)
    if state["pooling"] == "cls":
        return x[:, 0]
    if state["pooling"] == "max":
        return x.masked_fill(~kept, -torch.inf).max(dim=1).values
    return (x * kept).sum(1) / kept.sum(1)


def loss_of(task, columns, labels):
    """The paper's objective for this kind of data."""
    parts = [vectors(ids, mask) for ids, mask in columns]
    functional = torch.nn.functional
    if task == "nli":
        u, v = parts
        scores = state["head"](torch.cat([u, v, (u - v).abs()], dim=1))
        return functional.cross_entropy(scores, torch.from_numpy(labels))
    if task == "sts":
        return functional.mse_loss(functional.cosine_similarity(*parts), torch.from_numpy(labels))
    a, p, n = parts
    return functional.relu((a - p).norm(dim=1) - (a - n).norm(dim=1) + 1.0).mean()


def train(task, batches, clip=1.0):
    """One AdamW step a batch of (columns, labels); the losses."""
    values = []
    for columns, labels in batches:
        state["optimizer"].zero_grad()
        loss = loss_of(task, columns, labels)
        loss.backward()
        parameters = [p for group in state["optimizer"].param_groups for p in group["params"] if p.grad is not None]
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        state["optimizer"].step()
        values.append(loss.item())
    return values


def weights():
    """The encoder's tensors as they are now."""
    return {name: tensor.detach().numpy() for name, tensor in state["model"].named_parameters()}
