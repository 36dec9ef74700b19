"""ColBERT in PyTorch: transformers' BertModel, a linear layer, unit vectors, MaxSim over padded tokens."""

import torch
import transformers

model = projection = optimizer = None


def create(state, learning_rate, **settings):
    """A BERT of these sizes with the given weights, without dropout, and Adam."""
    global model, projection, optimizer
    projection = torch.nn.Parameter(torch.from_numpy(state.pop("projection.weight")))
    config = transformers.BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **settings)
    model = transformers.BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in state.items()})
    optimizer = torch.optim.Adam([*model.parameters(), projection], lr=learning_rate)


def _vectors(ids, mask):
    x = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long()).last_hidden_state
    return torch.nn.functional.normalize(x @ projection.T, dim=-1)


def _loss(query_ids, query_mask, document_ids, document_mask, document_kept):
    q, d = _vectors(query_ids, query_mask), _vectors(document_ids, document_mask)
    products = torch.einsum("bqd,ntd->bnqt", q, d)
    products = products.masked_fill(~torch.from_numpy(document_kept)[None, :, None, :], -torch.inf)
    scores = products.max(dim=-1).values.sum(dim=-1)
    return scores, torch.nn.functional.cross_entropy(scores, torch.arange(len(q)))


def loss_and_gradients(**batch):
    """MaxSim of all pairs, the loss, and every parameter's gradient."""
    optimizer.zero_grad()
    scores, loss = _loss(**batch)
    loss.backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    gradients["projection.weight"] = projection.grad.numpy()
    return {"scores": scores.detach().numpy(), "loss": loss.item(), "gradients": gradients}


def train(batches):
    """A step of Adam on each batch; the losses."""
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        _, loss = _loss(**batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
