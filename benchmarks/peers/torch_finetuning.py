"""The PyTorch twin of fine-tuning, in the peers' interpreter: transformers' BERT with a head, PyTorch's AdamW."""

import time

import torch
import transformers
from torch.nn import functional

ARCHITECTURES = {
    "pretraining": transformers.BertForPreTraining,
    "sequence": transformers.BertForSequenceClassification,
    "token": transformers.BertForTokenClassification,
    "span": transformers.BertForQuestionAnswering,
}
TWIN = {}


def create(path, head, weight_decay):
    """Open a folder, without dropout, and make its optimizer: matrices decay, biases and norms do not."""
    model = ARCHITECTURES[head].from_pretrained(path).eval()  # eval: no dropout; gradients flow all the same
    groups = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups["bias" not in name and "LayerNorm" not in name].append(parameter)
    decayed = {"params": groups[True], "weight_decay": weight_decay}
    optimizer = torch.optim.AdamW([decayed, {"params": groups[False]}], weight_decay=0.0)
    TWIN.update(model=model, optimizer=optimizer, head=head)


def train(steps, clip=1.0):
    """(the loss of every step, seconds of processor time); a step: ids, mask, types, targets, rate, perhaps words."""
    start, losses = time.process_time(), []
    for step in steps:
        arrays = {name: torch.from_numpy(step[name]) for name in ("ids", "mask", "types", "targets")}
        out = TWIN["model"](
            input_ids=arrays["ids"], attention_mask=arrays["mask"].long(), token_type_ids=arrays["types"]
        )
        loss = _loss(out, arrays["targets"], arrays["mask"], step.get("words"))
        TWIN["optimizer"].zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(TWIN["model"].parameters(), clip)
        for group in TWIN["optimizer"].param_groups:
            group["lr"] = step["rate"]
        TWIN["optimizer"].step()
        losses.append(loss.item())
    return [losses, time.process_time() - start]


def _loss(out, targets, mask, words):
    if TWIN["head"] == "pretraining":
        told = functional.cross_entropy(out.prediction_logits.flatten(0, 1), torch.from_numpy(words).flatten())
        return told + functional.cross_entropy(out.seq_relationship_logits, targets)
    if TWIN["head"] == "span":  # padding takes no part
        first, last = (scores.masked_fill(~mask, -torch.inf) for scores in (out.start_logits, out.end_logits))
        return (functional.cross_entropy(first, targets[:, 0]) + functional.cross_entropy(last, targets[:, 1])) / 2
    if TWIN["head"] == "token":
        return functional.cross_entropy(out.logits.flatten(0, 1), targets.flatten())  # −100: no label
    if out.logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(out.logits[:, 0], targets)
    return functional.cross_entropy(out.logits, targets)


def save(path):
    """Write the weights as they are now."""
    TWIN["model"].save_pretrained(path)
