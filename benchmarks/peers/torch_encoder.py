"""The dual encoder in PyTorch: two modules of embedding → TransformerEncoder → LayerNorm → [CLS] → Linear."""

import torch

towers = []
optimizer = None


class Encoder(torch.nn.Module):
    """One tower, with torch's defaults (post-norm, ReLU, 2048 wide) but for the dropout."""

    def __init__(self, vocab_size, width, dim, heads, layers):
        super().__init__()
        self.embedding_layer = torch.nn.Embedding(vocab_size, width)
        layer = torch.nn.TransformerEncoderLayer(width, nhead=heads, dropout=0.0, batch_first=True)
        norm = torch.nn.LayerNorm([width])
        self.encoder = torch.nn.TransformerEncoder(layer, layers, norm=norm, enable_nested_tensor=False)
        self.projection = torch.nn.Linear(width, dim)

    def forward(self, ids, mask):
        x = self.encoder(self.embedding_layer(ids), src_key_padding_mask=mask.logical_not())
        return self.projection(x[:, 0, :])


def create(vocab_size, width, dim, heads, layers, seed, learning_rate):
    """Build both towers and Adam; their weights."""
    global optimizer
    torch.manual_seed(seed)
    towers[:] = [Encoder(vocab_size, width, dim, heads, layers) for _ in range(2)]
    # torch clones one layer: draw them anew, or a mix-up of layers would go unseen
    for module in towers:
        for parameter in module.encoder.layers.parameters():
            if parameter.dim() > 1:
                torch.nn.init.xavier_uniform_(parameter)
            else:
                torch.nn.init.normal_(parameter, parameter.mean().item(), 0.05)
    optimizer = torch.optim.Adam([p for module in towers for p in module.parameters()], lr=learning_rate)
    return [{name: tensor.numpy() for name, tensor in module.state_dict().items()} for module in towers]


def _loss(question_ids, question_mask, answer_ids, answer_mask):
    q = towers[0](torch.from_numpy(question_ids), torch.from_numpy(question_mask))
    a = towers[1](torch.from_numpy(answer_ids), torch.from_numpy(answer_mask))
    return q, a, torch.nn.functional.cross_entropy(q @ a.T, torch.arange(len(q)))


def forward(**batch):
    """Vectors of both sides, without a tape and by torch's fast path."""
    for module in towers:
        module.eval()
    with torch.inference_mode():
        q, a, _ = _loss(**batch)
    for module in towers:
        module.train()
    return {"queries": q.numpy(), "documents": a.numpy()}


def loss_and_gradients(**batch):
    """Vectors of both sides, the loss, and every parameter's gradient."""
    optimizer.zero_grad()
    q, a, loss = _loss(**batch)
    loss.backward()
    gradients = [{name: p.grad.numpy() for name, p in module.named_parameters()} for module in towers]
    return {"queries": q.detach().numpy(), "documents": a.detach().numpy(), "loss": loss.item(), "gradients": gradients}


def train(batches):
    """One Adam step a batch; the losses."""
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        *_, loss = _loss(**batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
