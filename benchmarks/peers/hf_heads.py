"""transformers' BERT with its heads, in the peers' interpreter: folders of their making, scores, losses, gradients."""

import torch
import transformers
from sentence_transformers import CrossEncoder

ARCHITECTURES = {
    "pretraining": transformers.BertForPreTraining,
    "sequence": transformers.BertForSequenceClassification,
    "token": transformers.BertForTokenClassification,
    "span": transformers.BertForQuestionAnswering,
}


def save(path, head, tokenizer, seed=0, **settings):
    """A folder with random weights, nothing at 0 or 1; `tokenizer`: a tokenizer.json."""
    torch.manual_seed(seed)
    model = ARCHITECTURES[head](transformers.BertConfig(**settings))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    model.save_pretrained(path)
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=tokenizer,
        model_max_length=settings["max_position_embeddings"],
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{n.lower()}_token": f"[{n}]" for n in ("CLS", "SEP", "PAD", "UNK", "MASK")},
    ).save_pretrained(path)


def outputs(path, head, ids, mask, types, **targets):
    """{name: array} of all scores of a folder; with targets also the loss and, by name, all gradients."""
    model = ARCHITECTURES[head].from_pretrained(path).eval()
    named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, **targets}
    out = model(**{name: torch.from_numpy(array) for name, array in named.items()})
    found = {name: value.detach().numpy() for name, value in out.items() if name != "loss"}
    if targets:
        out.loss.backward()
        found["loss"] = out.loss.item()
        found["gradients"] = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return found


def rank_scores(path, query, documents):
    """sentence-transformers' logits and probabilities of a folder."""
    model = CrossEncoder(path, device="cpu")
    pairs = [(query, document) for document in documents]
    return [model.predict(pairs, activation_fn=torch.nn.Identity()), model.predict(pairs)]


def save_cross_encoder(path, base):
    """Make a folder of BERT a cross-encoder's, with the library's own save."""
    CrossEncoder(base, num_labels=1, device="cpu").save(path)
